"""Temporary folders beside the blobs, for bytes that are not a release yet.

Invariants: a folder is gone when its block ends; what a killed process left is removed by a later
one, when it is a day old. Only what these functions have marked as theirs is ever removed, and only
while no process holds it: wherever the root is, what else lies there is somebody's, however old.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STALE_S = 24 * 3600.0
MARK = ".adapters-scratch"  # the file that says whose a folder is, and is locked while it is used


@contextmanager
def scratch_folder(root: Path, prefix: str) -> Iterator[Path]:
    """A fresh private folder below `root`, which is created if need be."""
    root.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    with (
        tempfile.TemporaryDirectory(prefix=f"{prefix}-", dir=root) as marked,
        held_folder(Path(marked)),
    ):
        folder = Path(marked) / prefix  # without the mark in it
        folder.mkdir()
        yield folder


@contextmanager
def kept_folder(root: Path, prefix: str) -> Iterator[Path]:
    """As `scratch_folder`, but what did not end well stays for a day, to be looked at."""
    root.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    marked = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=root))
    with held_folder(marked):
        folder = marked / prefix
        folder.mkdir()
        yield folder
        shutil.rmtree(marked)


@contextmanager
def held_folder(folder: Path) -> Iterator[None]:
    """Mark a folder as scratch and hold it, however long; it is created if need be.

    Raises:
        BlockingIOError: another process holds it.
    """
    descriptor = _lock(folder)
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> int:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder / MARK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:  # it was swept in between
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(descriptor)
            raise
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)  # as above


def _sweep(root: Path) -> None:
    for left in root.iterdir():
        # Its owner was faster, it is not ours, or somebody works in it.
        with contextlib.suppress(OSError):
            if left.is_symlink():
                continue
            descriptor = os.open(left / MARK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stale = left.lstat().st_mtime < time.time() - STALE_S
                if stale:
                    shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(descriptor)
