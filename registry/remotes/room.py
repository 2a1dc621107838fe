"""Whether there is room for what is fetched, asked before a byte of it is.

Invariant: what a record or a listing names is somebody else's choice, so the disk, on which the
registry and its index lie as well, is never filled by it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from adapterworks.manifests.errors import Refused
from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.blobs.store import Store
from adapterworks.registry.remotes.held import Held


def require_room_of(held: Held, stage: Path, store: Store | None = None) -> None:
    """Refuse a release whose files have no room.

    Args:
        stage: where they are fetched to; what is there already needs no more.
        store: of blobs, which takes a copy of what it does not have; room is asked for where it
            is a folder of this machine.

    Raises:
        Refused: with what is needed and what is free.
    """
    sizes = {entry.digest: held.size(entry.digest) or 0 for entry in held.release.files.values()}
    there = sum(path.stat().st_size for path in stage.rglob("*") if path.is_file())
    fetched = max(sum(sizes.values()) - there, 0)
    if not isinstance(store, LocalBlobs):
        require_room(fetched, stage, held.where)
        return
    kept = sum(size for digest, size in sizes.items() if not store.exists(digest))
    place = existing(store.root)
    if place.stat().st_dev == stage.stat().st_dev:
        require_room(fetched + kept, stage, held.where)
        return
    require_room(fetched, stage, held.where)
    require_room(kept, place, held.where)


def existing(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return folder if folder.exists() else existing(folder.parent)


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
