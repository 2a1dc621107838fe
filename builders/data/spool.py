"""Values in a file that nobody sees: what is made once, read again and again, and too much to hold.

The file has no name from the moment it is made (it goes with the process, however that ends) and is
read by nobody else, so values are written as Python's own `marshal` has them: plain values only.

Invariant: a value that is read is equal to the one that was put; in memory are eight bytes of each.
"""

from __future__ import annotations

import marshal
import os
import tempfile
import weakref
from array import array
from pathlib import Path
from typing import Any

_LARGE_FILES = "/var/tmp"  # noqa: S108 (the file loses its name at once)
_BLOCK = 1 << 20  # bytes that are written, and of neighbours read, at once


def _folder() -> str | None:
    """Where large files may lie: `TMPDIR` if it is said, else `/var/tmp`, since `/tmp` is memory on
    many systems."""
    usable = "TMPDIR" not in os.environ and os.access(_LARGE_FILES, os.W_OK | os.X_OK)
    return _LARGE_FILES if usable else None


class Spool:
    """Values by number, in the order in which they were put."""

    def __init__(self) -> None:
        self._file, name = tempfile.mkstemp(prefix="adapterworks-", dir=_folder())
        Path(name).unlink()
        weakref.finalize(self, os.close, self._file)
        self._ends = array("q", [0])
        self._waiting = bytearray()
        self._written = 0
        self._block, self._begins = b"", 0

    def __len__(self) -> int:
        return len(self._ends) - 1

    def put(self, value: Any) -> int:
        """Keep a value; returns its number.

        Raises:
            ValueError: it is more than plain values (numbers, texts, bytes, lists, tables).
        """
        data = marshal.dumps(value)
        self._waiting += data
        self._ends.append(self._ends[-1] + len(data))
        if len(self._waiting) >= _BLOCK:
            self._write()
        return len(self) - 1

    def get(self, number: int) -> Any:
        """The value of a number."""
        start, end = self._ends[number], self._ends[number + 1]
        if end > self._written:
            self._write()
        if not self._begins <= start <= end <= self._begins + len(self._block):
            # Who reads one mostly reads the next one then.
            self._block = os.pread(self._file, max(_BLOCK, end - start), start)
            self._begins = start
        # Nobody else can have written it.
        return marshal.loads(self._block[start - self._begins : end - self._begins])  # noqa: S302

    def _write(self) -> None:
        rest = memoryview(self._waiting)
        while rest:
            written = os.pwrite(self._file, rest, self._written)
            self._written += written
            rest = rest[written:]
        self._waiting = bytearray()
        self._block = b""
