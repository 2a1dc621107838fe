"""What every form of another engine is to the rest: objections, a writer, and a reader to prove it.

A form is one file with an `EXPORT` and a line in `manifests/builtin.py`. Invariant: objections are
all said before anything is written; what is written stays in a private folder until the engine that
it is for has been asked (`run.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from adapterworks.builders.exports.material import Material
from adapterworks.builders.exports.readers.reader import Reader


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked for besides the form.

    Attributes:
        type: of the written numbers (`f16`, `q8_0`, …), one of the form's `types`.
        base_file: of a form that is used beside a base: the base in that engine's form, which
            `run.py` has written where it was not there. None if nothing is to be proved on it.
    """

    type: str
    base_file: Path | None = None


class Export(ABC):
    """A form of another engine.

    Attributes:
        name: as `--to` says it.
        title: a line for `adapters exports`.
        engine: what reads it, and proves it.
        package: that brings the engine; None where it is always there.
        writer: a module that writing takes, besides those of the extra `build`.
        extra: of `pyproject.toml`, that brings both.
        types: of numbers that it can have; the first is the default.
        suffix: of the written file (`.gguf`), empty for a folder.
        beside: whether it is a file beside a base in the engine's form, which has the template.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    engine: ClassVar[str]
    package: ClassVar[str | None] = None
    writer: ClassVar[str | None] = None
    extra: ClassVar[str] = "export"
    types: ClassVar[tuple[str, ...]]
    suffix: ClassVar[str] = ""
    beside: ClassVar[bool] = False

    @abstractmethod
    def objections(self, material: Material, settings: Settings) -> Iterator[str]:
        """Why this release cannot have this form, each a sentence."""

    @abstractmethod
    def write(self, material: Material, settings: Settings, place: Path) -> None:
        """Write it to `place`: a file if there is a suffix, else a folder that does not exist."""

    def write_base(self, material: Material, settings: Settings, place: Path) -> None:
        """Write the base that a form `beside` one is used on.

        Raises:
            NotImplementedError: the form stands alone.
        """
        raise NotImplementedError(self.name)

    def note(self, settings: Settings, place: Path) -> dict[str, Any]:
        """What the log says of what was written, besides size, digest and proof."""
        return {}

    @abstractmethod
    def reader(
        self, material: Material, settings: Settings, place: Path, scratch: Path
    ) -> AbstractContextManager[Reader]:
        """The engine with what was written.

        Args:
            scratch: an empty folder on the same disk.
        """
