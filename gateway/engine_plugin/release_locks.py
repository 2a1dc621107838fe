"""Which releases on this host some engine has loaded: a shared lock of a file each.

Invariant: what is held is not removed by anybody on this machine who asks `free` first. The dead
hold nothing: a lock ends with its process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path


class ReleaseLocks:
    """What this process holds; threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, int] = {}
        self._lock = threading.Lock()

    def __contains__(self, digest: str) -> bool:
        return digest in self._open

    @property
    def digests(self) -> list[str]:
        """What this process holds."""
        return list(self._open)

    def hold(self, digest: str) -> None:
        """Keep a release on this host; waits for whoever removes it in this moment."""
        with self._lock:
            if digest not in self._open:
                file = self._locked(digest, fcntl.LOCK_SH)
                assert file is not None
                self._open[digest] = file

    def let_go(self, digest: str) -> None:
        """Hold a release no longer: this process does not need it, others may."""
        with self._lock:
            file = self._open.pop(digest, None)
        if file is not None:
            os.close(file)

    @contextlib.contextmanager
    def free(self, digest: str) -> Iterator[bool]:
        """Whether nobody holds it, in this process or another; while inside nobody can."""
        file = self._locked(digest, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield file is not None
            if file is not None:
                self._path(digest).unlink(missing_ok=True)
        finally:
            if file is not None:
                os.close(file)

    def _locked(self, digest: str, how: int) -> int | None:
        """The open lock file; None if another has it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        while True:
            file = os.open(self._path(digest), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(file, how)
                if _is(file, self._path(digest)):
                    return file
            except BlockingIOError:
                os.close(file)
                return None
            os.close(file)  # it was removed meanwhile: its name is another file's now

    def _path(self, digest: str) -> Path:
        return self._folder / digest.removeprefix("sha256:")


def _is(file: int, path: Path) -> bool:
    """Whether an open file is the one of that name."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False
