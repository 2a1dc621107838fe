"""The spool: append-only files of lines, each owned by one live process, inherited from dead ones.

    line = CRC-32 of the JSON, 8 hex digits, a space, the JSON, "\\n"

Invariants:
- `append` returns only after an fsync of the file (and, for a new file, of its folder).
- Only a torn last line fails its checksum: it was never acknowledged, so it is dropped. A damaged
  line elsewhere is reported and skipped.
- A segment's owner holds an exclusive `flock` on it, which the kernel drops when the process dies;
  whoever gets the lock owns the segment.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import tempfile
import uuid
import zlib
from pathlib import Path

from adapterworks.registry.blobs.local import fsync_folder

SUFFIX = ".usage"
RESERVE_BYTES = 32 * 1024  # some fifty events
_log = logging.getLogger(__name__)


class Segment:
    """One file of the spool, owned by this process.

    Attributes:
        open: whether lines are still appended.
        size: bytes that are durable.
    """

    def __init__(self, path: Path, descriptor: int, *, is_open: bool) -> None:
        self.path = path
        self.open = is_open
        self.size = os.fstat(descriptor).st_size
        self._descriptor = descriptor
        self._drained = 0
        self._next = 0  # where the lines end that `read` returned last

    @classmethod
    def create(cls, folder: Path) -> Segment:
        """A new, empty segment."""
        path = folder / f"{uuid.uuid4().hex}{SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        fsync_folder(folder)
        return cls(path, descriptor, is_open=True)

    @property
    def backlog(self) -> int:
        """Durable bytes that are not drained."""
        return self.size - self._drained

    def append(self, lines: list[bytes]) -> None:
        """Write lines and fsync.

        Raises:
            OSError: nothing of it counts; the segment is cut back to its durable size, or not
                written to again if that fails too.
        """
        data = b"".join(b"%08x %b\n" % (zlib.crc32(line), line) for line in lines)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
            os.fsync(self._descriptor)
        except OSError:
            self.open = False
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(data)

    def read(self, count: int) -> list[bytes]:
        """The next `count` undrained lines at most, checked; `advance` marks them drained."""
        good: list[bytes] = []
        self._next = self._drained
        while len(good) < count and self._next < self.size:
            data = os.pread(self._descriptor, min(1 << 20, self.size - self._next), self._next)
            whole = data.rfind(b"\n") + 1
            if not whole:
                _log.warning("`%s` ends in a torn line, which was not acknowledged", self.path)
                self._next = self._drained = self.size
                break
            for line in data[:whole].splitlines(keepends=True):
                if len(good) == count:
                    break
                self._next += len(line)
                checked = _checked(line)
                if checked is None:
                    _log.error("`%s` has a damaged line before byte %d", self.path, self._next)
                else:
                    good.append(checked)
        if not good:
            self._drained = self._next
        return good

    def advance(self) -> None:
        """What `read` returned last is in the index."""
        self._drained = self._next

    def remove(self) -> None:
        """Delete the file and let go of it."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def close(self) -> None:
        """Let go of the file for another process to drain."""
        os.close(self._descriptor)


def adopt_orphans(folder: Path) -> list[Segment]:
    """Take over every segment of `folder` that no live process owns, oldest first."""
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:  # drained by its owner just now
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        if os.fstat(descriptor).st_nlink == 0:  # removed between open and lock
            os.close(descriptor)
            continue
        found.append(Segment(path, descriptor, is_open=False))
    return sorted(found, key=lambda segment: segment.path.stat().st_mtime)


class Reserve:
    """Room on the spool's disk that is kept for what is in flight when the disk runs full.

    It is a file without a name: gone with the process, however that ends.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None
        self.held = False

    def take(self) -> bool:
        """Reserve the room, if it is not held; returns whether it is now."""
        if not self.held:
            try:
                if self._descriptor is None:
                    with tempfile.TemporaryFile(dir=self._folder) as file:
                        self._descriptor = os.dup(file.fileno())
                if os.pwrite(self._descriptor, bytes(RESERVE_BYTES), 0) < RESERVE_BYTES:
                    raise OSError(errno.ENOSPC, "the disk is full")
            except OSError:
                self.give()
            else:
                self.held = True
        return self.held

    def give(self) -> None:
        """Let go of it, so that something else can be written."""
        self.held = False
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """Let go of it for good."""
        self.held = False
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def put_aside(path: Path, line: bytes) -> None:
    """Append a line to a file of what cannot be used, and fsync; twice is twice."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _checked(line: bytes) -> bytes | None:
    checksum, _, text = line.rstrip(b"\n").partition(b" ")
    return text if checksum == b"%08x" % zlib.crc32(text) else None
