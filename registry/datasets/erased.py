"""Rows that were erased, known again without a word of them.

A row is known by the first 64 bits of its digest: whoever has the row can tell that it was erased,
nobody can read it from that. Of a split whose bytes went, the numbers of all its rows are kept, so
that it can be told for ever who learnt a row that is erased later.

Invariant: what is noted here stays; an erased row comes into no dataset of this registry again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.datasets.schema import erased_parts, erased_rows
from adapterworks.registry.releases.types import now

_PREFIX, _DIGITS = "sha256:", 16
_AT_ONCE = 500  # rows in one statement


@dataclass(frozen=True, slots=True)
class ErasedRow:
    """A row that was erased.

    Attributes:
        mark: what it is known by.
        at: when, RFC 3339.
        why: empty where one is not to know.
    """

    mark: str
    at: str
    why: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"it was erased on {self.at[:10]}" + (f": {self.why}" if self.why else "")


def mark_of(digest: str) -> str:
    """What a row is known by.

    Args:
        digest: of the row, `sha256:…`.
    """
    return digest.removeprefix(_PREFIX)[:_DIGITS]


def note(
    connection: Connection,
    rows: Iterable[str],
    parts: Mapping[str, Iterable[str]],
    *,
    who: str,
    why: str,
) -> None:
    """Note rows that go, and all rows of the splits that go with them; again, it does nothing.

    Args:
        rows: their marks.
        parts: of each blob the marks of its rows, in order.
    """
    known, at = {row.mark for row in listed(connection)}, now()
    new = sorted({*rows} - known)
    for start in range(0, len(new), _AT_ONCE):
        connection.execute(
            sa.insert(erased_rows),
            [
                {"row": mark, "at": at, "who": who, "why": why}
                for mark in new[start : start + _AT_ONCE]
            ],
        )
    for blob, marks in parts.items():
        if of_part(connection, blob) is None:
            connection.execute(sa.insert(erased_parts).values(blob=blob, marks="".join(marks)))


def listed(connection: Connection) -> list[ErasedRow]:
    """Every row that was erased."""
    query = sa.select(erased_rows).order_by(erased_rows.c.at, erased_rows.c.row)
    return [ErasedRow(row.row, row.at, row.why) for row in connection.execute(query)]


def of_part(connection: Connection, blob: str) -> Collection[str] | None:
    """The marks of a split whose bytes were erased, in order; None where they were not noted."""
    marks = connection.scalar(sa.select(erased_parts.c.marks).where(erased_parts.c.blob == blob))
    if marks is None:
        return None
    return [marks[at : at + _DIGITS] for at in range(0, len(marks), _DIGITS)]
