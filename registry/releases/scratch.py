"""Temporary folders beside the blobs, for bytes that are not a release yet.

Invariant: a folder is gone when its block ends; what a killed process left is removed by a later
one, when it is a day old and nobody can still be working in it.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STALE_S = 24 * 3600.0


@contextmanager
def scratch_folder(root: Path, prefix: str) -> Iterator[Path]:
    """A fresh private folder under `root`, which is created if need be."""
    root.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    with tempfile.TemporaryDirectory(prefix=f"{prefix}-", dir=root) as folder:
        yield Path(folder)


def _sweep(root: Path) -> None:
    for left in root.iterdir():
        try:
            stale = left.lstat().st_mtime < time.time() - STALE_S
        except FileNotFoundError:  # its owner was faster
            continue
        if stale:
            shutil.rmtree(left, ignore_errors=True)
