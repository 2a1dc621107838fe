"""Encoded examples in a file: of many rows, more than there is memory for.

Invariant: the examples are those that the objective gave, in order; few stay a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, overload

from adapterworks.builders.data.render import LossOn, from_plain, to_plain
from adapterworks.builders.data.rows import Row
from adapterworks.builders.data.spool import Spool
from adapterworks.builders.objectives.examples import Example
from adapterworks.builders.objectives.objective import Objective

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

AT_ONCE = 4096
"""Rows that are encoded at once; up to so many, nothing is written."""


class StoredExamples(Sequence[Example]):
    """Examples in a file."""

    def __init__(self) -> None:
        self._spool = Spool()

    def add(self, example: Example, behind: int) -> None:
        """Keep one, of rows that stand behind so many others."""
        sequences = [to_plain(replace(s, row=s.row + behind)) for s in example.sequences]
        self._spool.put((example.count, sequences))

    def __len__(self) -> int:
        return len(self._spool)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        count, sequences = self._spool.get(index % len(self))
        return Example(tuple(from_plain(values) for values in sequences), count)

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))


def encoded(
    objective: Objective,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    max_length: int,
    loss_on: LossOn,
) -> Sequence[Example]:
    """The rows as the objective's examples; many of one that encodes `by_row` are in a file.

    Raises:
        InvalidInput: as `Objective.encode`.
    """
    if len(rows) <= AT_ONCE or not objective.by_row:
        return objective.encode(tokenizer, rows, max_length, loss_on)
    kept = StoredExamples()
    columns: set[tuple[str, ...]] = set()
    for start in range(0, len(rows), AT_ONCE):
        part = tuple(rows[start : start + AT_ONCE])
        for example in objective.encode(tokenizer, part, max_length, loss_on):
            columns.update(tuple(sorted(s.columns)) for s in example.sequences)
            kept.add(example, start)
    if len(columns) > 1:  # weights that only some parts have: then all need them
        return objective.encode(tokenizer, rows, max_length, loss_on)
    return kept
