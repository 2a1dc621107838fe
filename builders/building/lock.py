"""One build directory, one build: an advisory lock that the training process inherits.

Invariant: the lock is held as long as any process of the build lives, since `flock` belongs to the
open file, which the child shares; a killed build leaves no stale lock behind.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapterworks.manifests.errors import Conflict

# A killed build's training process notices within a second; a resumed build waits for that.
_PATIENCE = 5.0


@contextmanager
def build_lock(folder: Path) -> Iterator[int]:
    """Hold the lock of a build directory; yields its inheritable file descriptor.

    Raises:
        Conflict: another process is building there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    os.set_inheritable(descriptor, True)
    try:
        _acquire(descriptor, folder)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, folder: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                holder = os.pread(descriptor, 32, 0).decode() or "unknown"
                raise Conflict(
                    f"process {holder} is building this plan in `{folder}`",
                    hint="wait for it, or stop it and use `--resume`",
                ) from error
            time.sleep(0.2)
