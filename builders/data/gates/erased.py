"""Rows that were erased from this registry: wherever they are read again, they are found.

A row is found by what it says (`Row.digest`), whatever the file, the format or its columns, and
whatever system message a manifest puts before it; one that says it in other words is another row,
whose erasure nobody has asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from adapterworks.builders.data.gates.as_of import NOW, AsOf
from adapterworks.builders.data.rows import Row
from adapterworks.registry.datasets.erased import ErasedRow, mark_of
from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.http.datasets import open_datasets

Erased = Mapping[str, ErasedRow]  # by mark


def erased_here(registry: Registry, *, as_of: AsOf = NOW) -> Erased:
    """The rows that were erased from a registry.

    Args:
        as_of: those that were erased until another time.
    """
    until = as_of.until
    rows = open_datasets(registry).erased_rows()
    return {row.mark: row for row in rows if until is None or row.at <= until}


def mark(row: Row) -> str:
    """What a row is known by when it was erased."""
    turns = row.messages
    if len(turns) > 1 and turns[0]["role"] == "system":
        row = replace(row, messages=turns[1:])
    return mark_of(row.digest)


def erased_among(rows: Sequence[Row], erased: Erased) -> Iterator[tuple[int, ErasedRow]]:
    """Those of the rows that were erased, by their 0-based index."""
    if not erased:
        return
    for index, row in enumerate(rows):
        if (found := erased.get(mark(row))) is not None:
            yield index, found
