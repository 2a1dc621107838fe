"""Folders of manifests with real rows on a tiny base, and the commands run on them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from adapterworks.cli import apply, build, rebase, status
from tests.builders.build_support import make_tiny_base
from tests.builders.workshop import MANIFEST, Workshop
from tests.warm.python import COMMAND, warm_python

COMMANDS = {module.__name__.rpartition(".")[2]: module.command for module in (apply, build, rebase)}
COMMANDS["status"] = status.command


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama."""
    return make_tiny_base(tmp_path_factory.mktemp("bases") / "tiny")


class Ads:
    """A folder `ads` of manifests; the rows lie beside it.

    Attributes:
        workshop: rows, base and home.
    """

    def __init__(self, root: Path, base: Path) -> None:
        self.workshop = Workshop(root, base)
        self.folder = root / "ads"
        self.folder.mkdir()

    def declare(self, name: str, *, kind: str = "lora", epochs: float = 2, more: str = "") -> Path:
        """Write a manifest, or change it."""
        text = MANIFEST.format(base=self.workshop.base, kind=kind, epochs=epochs, rate=1e-2)
        text = text.replace('name = "tiny"', f'name = "{name}"')
        for split in ("train", "validation", "test"):
            text = text.replace(f'"{split}.jsonl"', f'"../{split}.jsonl"')
        path = self.folder / f"{name}.toml"
        path.write_text(text + more)
        return path

    def change_row(self, number: int, answer: str = "B9") -> None:
        """Give a training row another answer."""
        path = self.workshop.folder / "train.jsonl"
        lines = path.read_text().splitlines()
        row = json.loads(lines[number - 1])
        row["messages"][-1]["content"] = answer
        lines[number - 1] = json.dumps(row)
        path.write_text("\n".join(lines) + "\n")

    def run(self, command: str, *arguments: str) -> Result:
        """A command on the folder, in this process."""
        words = [*arguments] if command == "rebase" else [str(self.folder), *arguments]
        if command == "build":
            words = ["--all", *words]
        return self.workshop.invoke(COMMANDS[command], *words)

    def json(self, command: str, *arguments: str, code: int = 0) -> Any:
        """What a command prints for programs."""
        result = self.run(command, *arguments, "--json")
        assert result.exit_code == code, (result.output, result.exception)
        return json.loads(result.stdout)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A command as a process of its own."""
        return subprocess.Popen(
            [warm_python(), "-c", COMMAND, *arguments],
            env=os.environ | self.workshop.environment,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def aliases(self) -> dict[str, dict[str, int]]:
        """Name → alias → the version that holds it."""
        return {
            row.name: {alias: held[0].version for alias, held in row.aliases.items()}
            for row in self.workshop.registry().names()
        }


@pytest.fixture
def ads(tmp_path: Path, tiny: Path) -> Ads:
    """An empty folder of manifests."""
    return Ads(tmp_path, tiny)


def signs(plan: Any) -> dict[str, str]:
    """Name → sign of a plan's entries."""
    return {entry["name"]: entry["sign"] for entry in plan["entries"]}


def why(plan: Any, name: str) -> str:
    """Every reason of an entry."""
    (entry,) = (entry for entry in plan["entries"] if entry["name"] == name)
    return "; ".join(f"{found['what']}: {found['why']}" for found in entry["findings"])
