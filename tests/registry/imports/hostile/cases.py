"""The hostile corpus: each case spoils a good adapter's folder in one way.

A case is a function of a folder that holds a good adapter; `CASES` maps its name to it and to the
words its refusal must contain. `python -m bench.hostile_corpus` prints every case's message.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One attack or mistake.

    Attributes:
        name: short, unique.
        file: the file the refusal must name.
        says: words the refusal must contain.
        spoil: makes a good adapter's folder hostile; may return another path to import.
    """

    name: str
    file: str
    says: str
    spoil: Callable[[Path], Path | None]


CASES: list[Case] = []
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def case(
    file: str, says: str
) -> Callable[[Callable[[Path], Path | None]], Callable[[Path], Path | None]]:
    """Register the decorated function as a case named after it."""

    def register(spoil: Callable[[Path], Path | None]) -> Callable[[Path], Path | None]:
        CASES.append(Case(spoil.__name__.replace("_", "-"), file, says, spoil))
        return spoil

    return register


def load_cases() -> list[Case]:
    """Every case; importing the four modules registers theirs."""
    from tests.registry.imports.hostile import config, folder, header, tensors

    assert all((config, folder, header, tensors))
    return CASES
