"""Which rows a source had: digests of rows, kept in the cache, so that a change shows by row.

A release keeps one digest for all rows of a source, which says that something changed, not what.
Here eight bytes of each row's digest are kept, in order, under the digest of them all: 8 kB for a
thousand rows, on the machine that read them and nowhere else.

Invariant: a file's name is the digest of the rows whose prefixes it holds; what is missing was read
elsewhere, and is no fault.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapterworks.builders.data.many import digests
from adapterworks.builders.data.rows import Row

_WIDTH = 8  # bytes of a digest; two of a million rows are alike with a chance of 3 in 10^8
_FOLDER = "rows"


@dataclass(frozen=True)
class RowChanges:
    """How the rows of a source differ from those it had.

    Attributes:
        new: numbers of the rows that were not there, from 1, in order.
        gone: how many rows are no longer there.
    """

    new: tuple[int, ...]
    gone: int

    def __str__(self) -> str:
        changed = min(len(self.new), self.gone)
        parts = []
        if changed:
            parts.append(f"{changed} changed")
        if len(self.new) > changed:
            parts.append(f"{len(self.new) - changed} more")
        if self.gone > changed:
            parts.append(f"{self.gone - changed} gone")
        if not parts:
            return "the same rows in another order"
        return ", ".join(parts) + (f" ({_numbers(self.new)})" if self.new else "")


def remember(cache: Path, digest: str, rows: Sequence[Row]) -> None:
    """Keep which rows these are; what is kept already is left alone, and a cache that cannot be
    written keeps nothing: `status` reads where nothing can be written too.

    Args:
        cache: the folder of what recipes derive; rows are kept in one of its own in it.
        digest: of all rows, in order (`rows_digest`).
    """
    path = _path(cache, digest)
    if path.exists():
        return
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(b"".join(map(_prefix, digests(rows))))
        temporary.replace(path)


def changes_since(cache: Path, before: str, after: str) -> RowChanges | None:
    """What changed between two digests of a source's rows; None if one was not read here."""
    sides = [_read(cache, digest) for digest in (before, after)]
    if sides[0] is None or sides[1] is None:
        return None
    left = Counter(sides[0])
    numbers = []
    for number, prefix in enumerate(sides[1], 1):
        if left[prefix]:
            left[prefix] -= 1
        else:
            numbers.append(number)
    return RowChanges(tuple(numbers), left.total())


def _numbers(numbers: Sequence[int], shown: int = 5) -> str:
    listed = ", ".join(map(str, numbers[:shown]))
    more = f" and {len(numbers) - shown} more" if len(numbers) > shown else ""
    return f"row {listed}" if len(numbers) == 1 else f"rows {listed}{more}"


def _prefix(digest: str) -> bytes:
    return bytes.fromhex(digest.removeprefix("sha256:")[: 2 * _WIDTH])


def _path(cache: Path, digest: str) -> Path:
    return cache / _FOLDER / digest.removeprefix("sha256:")


def _read(cache: Path, digest: str) -> list[bytes] | None:
    try:
        data = _path(cache, digest).read_bytes()
    except OSError:
        return None
    return [data[start : start + _WIDTH] for start in range(0, len(data), _WIDTH)]
