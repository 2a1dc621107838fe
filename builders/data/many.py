"""Rows that are too many to hold: a sequence of rows in a file, one of them in memory at a time.

Up to `HELD` rows are a tuple, as ever. More are written to a file without a name (`spool.py`) as
they come, and read whenever somebody looks at them; their digests are in memory, 32 bytes each.

Invariant: whoever is given rows sees the same rows, in the same order, whichever of both they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, overload

from adapterworks.builders.data.rows import Row, from_record, to_record
from adapterworks.builders.data.spool import Spool

HELD = 20_000
_DIGEST = "sha256:"

if TYPE_CHECKING:  # a manifest is validated without NumPy, and names gates that are here
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]


class _Kept:
    """All rows that were written, by number; those that are no plain values (dates of a Parquet
    file) stay in memory."""

    def __init__(self) -> None:
        self.spool, self.odd, self.digests = Spool(), dict[int, Row](), bytearray()

    def add(self, row: Row) -> None:
        number = len(self.spool)
        try:
            self.spool.put({**to_record(row)})
        except ValueError:
            self.spool.put(None)
            self.odd[number] = row
        self.digests += bytes.fromhex(row.digest.removeprefix(_DIGEST))

    def digest(self, number: int) -> str:
        return _DIGEST + self.digests[32 * number : 32 * number + 32].hex()

    def row(self, number: int) -> Row:
        values = self.spool.get(number)
        if values is None:
            return self.odd[number]
        row = from_record(values)
        row.__dict__["digest"] = self.digest(number)  # it is known, and seldom cheap
        return row


class ManyRows(Sequence[Row]):
    """Rows in a file; made by `gathered`."""

    def __init__(self, kept: _Kept, order: Numbers) -> None:
        self._kept, self._order = kept, order

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            import numpy as np

            return self.at(np.arange(len(self))[index])
        return self._kept.row(int(self._order[index]))

    def __iter__(self) -> Iterator[Row]:
        return (self._kept.row(number) for number in self._order.tolist())

    def at(self, indices: Numbers) -> ManyRows:
        """Those at some places, without reading them."""
        return ManyRows(self._kept, self._order[indices])

    def digests(self) -> Iterator[str]:
        """Of each row, in order, without reading them."""
        return (self._kept.digest(number) for number in self._order.tolist())


def gathered(rows: Iterable[Row]) -> Sequence[Row]:
    """Rows as they come: in memory if they are few."""
    if isinstance(rows, tuple | ManyRows):
        return rows
    first: list[Row] = []
    kept: _Kept | None = None
    for row in rows:
        if kept is None:
            first.append(row)
            if len(first) > HELD:
                kept = _Kept()
                for one in first:
                    kept.add(one)
                first = []
        else:
            kept.add(row)
    if kept is None:
        return tuple(first)
    import numpy as np

    return ManyRows(kept, np.arange(len(kept.spool)))


def mapped(change: Callable[[Row], Row], rows: Sequence[Row]) -> Sequence[Row]:
    """Each row changed."""
    return gathered(change(row) for row in rows)


def at(rows: Sequence[Row], indices: Iterable[int]) -> Sequence[Row]:
    """The rows at some places, in that order."""
    if isinstance(rows, ManyRows):
        import numpy as np

        return rows.at(np.fromiter(indices, dtype=np.int64))
    return tuple(rows[index] for index in indices)


def joined(*parts: Sequence[Row]) -> Sequence[Row]:
    """Rows one after the other; what is alone stays as it is."""
    there = [part for part in parts if len(part)]
    if len(there) == 1:
        return gathered(there[0])
    return gathered(row for part in there for row in part)


def digests(rows: Iterable[Row]) -> Iterator[str]:
    """Of each row, in order."""
    return rows.digests() if isinstance(rows, ManyRows) else (row.digest for row in rows)


def short(digest: str) -> bytes:
    """The first sixteen bytes of a digest: of a million million different rows no two are likely to
    have equal ones, and they are a third of the memory."""
    return bytes.fromhex(digest.removeprefix(_DIGEST)[:32])
