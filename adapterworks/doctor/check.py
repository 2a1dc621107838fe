"""One finding of `adapters doctor`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["ok", "info", "slow", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        level: `fail` (something will not work), `slow` (works, could be faster), `info`, `ok`.
        hint: what to do about it; empty when there is nothing to do.
    """

    name: str
    level: Level
    finding: str
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        """The finding as a JSON value."""
        return asdict(self)
