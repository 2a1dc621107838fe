"""Which rows of a batch use which adapter slot, computed once per change of the batch.

Invariant: every row whose slot is not negative is in exactly one group; rows of the base model are
in none, so nothing is computed for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

LONG = 32
"""Rows from which a slot gets matrix products of its own.

A product over this many rows reads the slot's weights once and is bound by arithmetic; below it,
the cost is reading the weights and starting the operation, and `few_rows` does both faster.
"""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive rows `start:stop` that use one slot."""

    slot: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Scattered rows, ascending, that use one slot."""

    slot: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Groups:
    """The rows of one batch by adapter.

    Attributes:
        runs: consecutive rows, applied in place without copying.
        scattered: many rows of one slot that are not consecutive.
        few: at most `LONG - 1` rows of a slot each, in slot order.
    """

    runs: tuple[Run, ...]
    scattered: tuple[Rows, ...]
    few: tuple[Rows, ...]

    @property
    def empty(self) -> bool:
        """Whether the batch uses no adapter at all."""
        return not (self.runs or self.scattered or self.few)


def _runs(slots: Sequence[int]) -> Iterable[Run]:
    start = 0
    for slot, members in groupby(slots):
        stop = start + sum(1 for _ in members)
        if slot >= 0:
            yield Run(slot, start, stop)
        start = stop


def group_rows(slots: Sequence[int]) -> Groups:
    """Group the rows of a batch by adapter slot.

    Args:
        slots: for each row its adapter slot, −1 for the base model.
    """
    runs: list[Run] = []
    short: dict[int, list[Run]] = {}
    for run in _runs(slots):
        if run.stop - run.start >= LONG:
            runs.append(run)
        else:
            short.setdefault(run.slot, []).append(run)

    scattered: list[Rows] = []
    few: list[Rows] = []
    for slot in sorted(short):
        rows = tuple(row for run in short[slot] for row in range(run.start, run.stop))
        (scattered if len(rows) >= LONG else few).append(Rows(slot, rows))
    return Groups(tuple(runs), tuple(scattered), tuple(few))
