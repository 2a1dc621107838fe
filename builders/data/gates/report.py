"""What gates are given and what they return.

Invariant: an offence names one row of one split, by its position and by the number that its author
knows it by; reports of personal data and secrets never repeat what was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from adapterworks.builders.data.rows import Row

if TYPE_CHECKING:
    from adapterworks.builders.data.gates.erased import Erased
    from adapterworks.builders.data.gates.seals import Seal

Rows = Mapping[str, Sequence[Row]]  # split → its rows
Action = Literal["fail", "drop", "warn"]
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Offence:
    """One offending row.

    Attributes:
        split: `train`, `validation` or `test`.
        index: 0-based position in the split.
        row: the 1-based number in its source, or else in the split.
        source: that source, where known.
        reason: why it offends, with the other row where there is one.
        excerpt: one line that shows it.
    """

    split: str
    index: int
    row: int
    source: str | None
    reason: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one gate found; `measured` is in the gate's own unit, None if it could not measure."""

    offences: tuple[Offence, ...]
    measured: float | None


@dataclass(frozen=True, slots=True)
class GateReport:
    """A finding with the threshold it was judged by and what is done about it."""

    name: str
    rows: tuple[Offence, ...]
    measured: float | None
    threshold: float | None
    action: Action

    @property
    def passed(self) -> bool:
        """Whether no row offends."""
        return not self.rows

    @property
    def count(self) -> str:
        """The number of offending rows, in words."""
        return "1 row" if len(self.rows) == 1 else f"{len(self.rows)} rows"

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows], "passed": self.passed}


@dataclass(frozen=True, slots=True)
class Context:
    """What some gates need beside the rows.

    Attributes:
        languages: ISO 639-1 codes that rows are expected in.
        lost: split → supervised tokens that each row loses to `max_length`; None if not encoded.
        lost_prompts: the same of tokens that are asked.
        unlearnt: split → answers of each row that the template keeps from being learnt.
        special: the tokenizer's control tokens as text.
        seals: the test sets of the registry; None where none was asked.
        erased: the rows that were erased from the registry, by mark.
        earlier: what the releases learnt that the training goes on from, as far as it is known.
    """

    languages: tuple[str, ...] = ("en",)
    lost: Mapping[str, Sequence[int]] | None = None
    lost_prompts: Mapping[str, Sequence[int]] | None = None
    unlearnt: Mapping[str, Sequence[int]] | None = None
    special: Sequence[str] | None = None
    seals: Sequence[Seal] | None = None
    erased: Erased = field(default_factory=dict)
    earlier: Sequence[Row] = ()


def offence(split: str, index: int, row: Row, reason: str, excerpt: str | None = None) -> Offence:
    """An offence of `row`, which stands at `index` of `split`."""
    shown = row.excerpt() if excerpt is None else excerpt
    return Offence(split, index, number(row, index), row.meta.get("source"), reason, shown)


def number(row: Row, index: int) -> int:
    """The number its author knows a row by."""
    return row.number or index + 1
