"""`--on`, parsed once: `local`, `slurm` or `slurm:PARTITION`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from adapterworks.manifests.errors import InvalidInput

Kind = Literal["local", "slurm"]
_PARTITION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Where:
    """A place.

    Attributes:
        name: a partition; empty for the place's own default.
    """

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.kind}:{self.name}" if self.name else self.kind


def parse_where(text: str) -> Where:
    """Read `--on`.

    Raises:
        InvalidInput: it is none of the kinds.
    """
    kind, colon, name = text.partition(":")
    if text == "local":
        return Where("local")
    if kind == "slurm" and (not colon or _PARTITION.fullmatch(name)):
        return Where("slurm", name)
    raise InvalidInput(f"`{text}` is no place to build on", hint="local, slurm, or slurm:PARTITION")
