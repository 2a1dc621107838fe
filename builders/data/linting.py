"""ruff over many small sources in one run: the `stdlib-ruff` recipe and its metric use the same.

Invariant: no configuration file is read and nothing is cached, so the answer depends on the
sources, the rules and ruff's version only.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

TARGET = "py311"


def write_sources(folder: Path, sources: Iterable[tuple[int, str]]) -> None:
    """Write each source as `NUMBER.py`."""
    for number, source in sources:
        (folder / f"{number:06}.py").write_text(source, encoding="utf-8")


def read_source(folder: Path, number: int) -> str:
    """A source as it is now, after fixes."""
    return (folder / f"{number:06}.py").read_text(encoding="utf-8")


@cache
def reported_rules() -> frozenset[str]:
    """The codes that `run_ruff` can report: one that was removed or renamed is reported as another
    or not at all, one of the preview not without asking for it."""
    from ruff import find_ruff_bin  # type: ignore[import-untyped]

    command = [find_ruff_bin(), "rule", "--all", "--output-format", "json"]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    rules = json.loads(done.stdout)
    return frozenset(
        rule["code"] for rule in rules if not rule["preview"] and "Removed" not in rule["status"]
    )


def run_ruff(
    folder: Path, rules: Iterable[str], *, fix: bool = False
) -> list[tuple[int, dict[str, Any]]]:
    """(number, violation) of some rules in a folder of sources, in order; with `fix`, those left.

    A source that does not parse has one violation whose `code` is `invalid-syntax` or None.
    """
    from ruff import find_ruff_bin

    command = [find_ruff_bin(), "check", "--isolated", "--no-cache", "--quiet", "--exit-zero"]
    command += ["--target-version", TARGET, "--select", ",".join(sorted(rules))]
    command += ["--output-format", "json", *(["--fix", "--unsafe-fixes"] if fix else [])]
    done = subprocess.run([*command, str(folder)], capture_output=True, check=True, text=True)
    violations: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    violations.sort(key=lambda v: (v["filename"], v["location"]["row"], v["code"] or ""))
    return [(int(Path(violation["filename"]).stem), violation) for violation in violations]
