"""Generated mutants that mean the same as the code, each with its reason."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from bench.mutants.mutant import ROOT
from bench.mutants.places import Generated, generate

KEPT = Path("tests/mutants/kept.toml")


@dataclass(frozen=True, slots=True)
class Kept:
    """One of them: the line as it is and as the mutant has it, whatever its number."""

    file: str
    line: str
    mutant: str
    reason: str


def read_kept(root: Path = ROOT) -> list[Kept]:
    """The list."""
    document = tomllib.loads((root / KEPT).read_text(encoding="utf-8"))
    return [Kept(**entry) for entry in document.get("kept", [])]


def candidates(file: str, kept: list[Kept], root: Path = ROOT) -> list[Generated]:
    """The file's generated mutants that are not kept."""
    source = (root / file).read_bytes()
    same = {(entry.line, entry.mutant) for entry in kept if entry.file == file}
    return [mutant for mutant in generate(file, source) if mutant.edit.shown(source) not in same]


def stale(kept: list[Kept], root: Path = ROOT) -> list[Kept]:
    """Entries that no mutant of the code as it is answers to."""
    found: set[tuple[str, str, str]] = set()
    for file in {entry.file for entry in kept}:
        if (root / file).exists():
            source = (root / file).read_bytes()
            found |= {(file, *mutant.edit.shown(source)) for mutant in generate(file, source)}
    return [entry for entry in kept if (entry.file, entry.line, entry.mutant) not in found]
