"""Whether there is room for what is fetched, asked before a byte of it is.

Invariant: what a record or a listing names is somebody else's choice, so the disk, on which the
registry and its index lie as well, is never filled by it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from adapterworks.manifests.errors import Refused
from adapterworks.registry.remotes.held import Held


def require_room_of(held: Held, stage: Path, *, copies: int) -> None:
    """Refuse a release whose files have no room.

    Args:
        stage: where they are fetched to; what is there already needs no more.
        copies: how often its bytes lie on this disk before it is done: in the stage, and in the
            store of blobs.

    Raises:
        Refused: with what is needed and what is free.
    """
    digests = {entry.digest for entry in held.release.files.values()}
    there = sum(path.stat().st_size for path in stage.rglob("*") if path.is_file())
    size = sum(held.size(digest) or 0 for digest in digests)
    require_room(max(copies * size - there, 0), stage, held.where)


def require_room(needed: int, folder: Path, what: str) -> None:
    """Refuse what has no room.

    Args:
        needed: bytes that will be written where `folder` is, copies counted.
        what: the release or adapter, for the error.

    Raises:
        Refused: with what is needed and what is free.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise Refused(
            f"`{what}` needs {needed / 1e9:.1f} GB while it is fetched and taken over, and "
            f"{free / 1e9:.1f} GB are free where `{folder}` is",
            hint="make room with `adapters gc`, or set ADAPTERS_HOME to a larger disk",
        )
