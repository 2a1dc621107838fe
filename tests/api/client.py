"""A client's installation: what pyproject.toml requires, by the installed packages' metadata."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def normal(name: str) -> str:
    """A distribution's name as the index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def owners_of_modules() -> Mapping[str, list[str]]:
    """Top-level module → the distributions that bring it; slow to find out."""
    return importlib.metadata.packages_distributions()


@cache
def installed(*extras: str) -> dict[str, list[str]]:
    """Top-level modules and distributions of the core, extras, and all that these require."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"]]
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    wanted = [Requirement(line) for line in lines]
    seen: set[tuple[str, str]] = set()
    while wanted:
        requirement = wanted.pop()
        for extra in ("", *requirement.extras):
            key = (normal(requirement.name), extra)
            if key in seen:
                continue
            seen.add(key)
            for line in importlib.metadata.requires(requirement.name) or []:
                further = Requirement(line)
                if further.marker is None or further.marker.evaluate({"extra": extra}):
                    wanted.append(further)
    names = {name for name, _ in seen}
    modules = [
        module
        for module, owners in owners_of_modules().items()
        if any(normal(owner) in names for owner in owners)
    ]
    return {"modules": sorted(modules), "distributions": sorted(names)}


class Outcome(NamedTuple):
    """What a command came to."""

    code: int
    output: str
    errors: str


def run_client(
    home: Path, commands: Sequence[Sequence[str]], *extras: str, imports: Sequence[str] = ()
) -> list[Outcome]:
    """Run commands where only the core and `extras` are installed, on a machine that is no Linux.

    Args:
        home: their ADAPTERS_HOME.
        commands: their arguments.
        extras: what is installed besides the core.
        imports: modules that must be importable there.
    """
    done = subprocess.run(
        [sys.executable, "-P", Path(__file__).with_name("core_only.py")],
        input=json.dumps({**installed(*extras), "imports": imports, "commands": commands}),
        capture_output=True,
        text=True,
        env=os.environ
        | {"ADAPTERS_HOME": str(home), "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        cwd=home.parent,
    )
    assert done.returncode == 0, done.stderr
    return [Outcome(*result) for result in json.loads(done.stdout)]
