"""A file of JSON lines that one process holds: a kill costs it what was under way and no more.

Invariant: a line is on the disk when `add` returns. A line counts when it is whole and whoever
holds the file takes it; from the first that does not count on, the file is written again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


class KeptLines:
    """The lines of one file; made by `kept_lines`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def add(self, lines: Iterable[bytes]) -> None:
        """Write lines after those that count; they are on the disk when this returns."""
        self._file.write(b"".join(line + b"\n" for line in lines))
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def kept_lines(path: Path, take: Callable[[bytes], bool], busy: Exception) -> Iterator[KeptLines]:
    """Hold a file, made with its folder if it is not there; only this user reads it.

    Args:
        take: is given each whole line without its end, in order, and says whether it counts.
        busy: is raised where another process holds the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy from error
        end = 0
        for line in file:
            if not line.endswith(b"\n") or not take(line[:-1]):
                break
            end += len(line)
        file.seek(end)
        file.truncate()
        yield KeptLines(file)
