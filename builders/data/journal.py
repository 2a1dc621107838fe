"""A file of JSON lines that one process writes: a kill costs it what was under way and no more.

Invariant: a line is on the disk when `add` returns, and no line that is whole is ever taken away.
A last line without its end is what a kill has torn off, and is written again; a whole one that is
not understood (another version's, or spoilt) is said, and everything stays as it is.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from adapterworks.manifests.errors import IntegrityError

Take = Callable[[bytes], bool]
"""Is given each whole line without its end, in order, and says whether it understands it."""
_AGAIN_SECONDS = 0.02


class Journal:
    """The lines of one file; made by `open_journal`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def add(self, lines: Iterable[bytes]) -> None:
        """Write lines after those that are there; they are on the disk when this returns."""
        self._file.write(b"".join(line + b"\n" for line in lines))
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def open_journal(path: Path, take: Take, busy: Exception, *, wait: float = 0) -> Iterator[Journal]:
    """Hold a file, made with its folder if it is not there; only this user reads it.

    Args:
        busy: is raised where another process holds the file.
        wait: seconds for which it may.

    Raises:
        IntegrityError: a whole line is not understood.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        _lock(file, fcntl.LOCK_EX, busy, wait)
        end = _taken(file, path, take)
        file.seek(end)
        file.truncate()
        yield Journal(file)


def read_lines(path: Path, take: Take, busy: Exception, *, wait: float) -> None:
    """Read what is there without holding it; a file that is not there has no lines.

    Args:
        busy, wait: as of `open_journal`.

    Raises:
        IntegrityError: a whole line is not understood.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        _lock(file, fcntl.LOCK_SH, busy, wait)
        _taken(file, path, take)


def _taken(file: BinaryIO, path: Path, take: Take) -> int:
    """Where the whole lines end, in bytes."""
    end = 0
    for number, line in enumerate(file, start=1):
        if not line.endswith(b"\n"):
            break
        if not take(line[:-1]):
            raise IntegrityError(
                f"`{path}` line {number} is none that this version understands",
                hint="use the version that wrote it; if it is spoilt, take that line out, or move "
                "the file away: the lines after it are whole",
            )
        end += len(line)
    return end


def _lock(file: BinaryIO, how: int, busy: Exception, wait: float) -> None:
    until = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= until:
                raise busy from error
            time.sleep(_AGAIN_SECONDS)
        else:
            return
