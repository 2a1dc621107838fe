"""Checkouts leave this machine when they take too much room: those that were asked for longest ago.

Invariant: none goes that a lease needs (a gateway serves it, a build reads it) or that was asked
for within a day. Nothing is lost: a checkout is made again from the store whenever it is asked for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from adapterworks.registry.index.database import Database
from adapterworks.registry.lifecycle import leases
from adapterworks.registry.reading.checkout import locked, remove_tree

# Whoever reads a folder that it was given holds no lease on it for so long at most.
IN_USE_S = 86400.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Checkout:
    folder: Path
    size: int
    asked: float

    @property
    def digest(self) -> str:
        return f"sha256:{self.folder.name}"


Free = Callable[[str], AbstractContextManager[bool]]
"""Of a digest: whether nobody needs its checkout; what it says holds until it is left."""


def evict(database: Database, checkouts: Path, most: int) -> list[str]:
    """Remove what was asked for longest ago until the rest has at most `most` bytes.

    Returns:
        the digests of the releases whose checkouts went.
    """

    def free(digest: str) -> AbstractContextManager[bool]:
        with database.read() as connection:
            return nullcontext(not leases.needed(connection, digest))

    gone, room = make_room(checkouts, most, free, unused_s=IN_USE_S)
    if room < 0:
        _log.info("checkouts take %d bytes more than they should, and all are in use", -room)
    return gone


def make_room(checkouts: Path, most: int, free: Free, *, unused_s: float) -> tuple[list[str], int]:
    """The same, of those that are free and were not asked for within `unused_s` seconds.

    Returns:
        the digests that went, and the bytes that there is room for now; below zero, too many stay.
    """
    found = [_look(folder) for folder in checkouts.glob("*") if len(folder.name) == 64]
    room = most - sum(checkout.size for checkout in found)
    gone: list[str] = []
    for checkout in sorted(found, key=lambda c: c.asked):
        if room >= 0 or checkout.asked > time.time() - unused_s:
            break
        with locked(checkouts, checkout.digest):
            if not checkout.folder.exists() or _look(checkout.folder).asked != checkout.asked:
                continue  # somebody was quicker, or has just asked for it
            with free(checkout.digest) as nobody_needs_it:
                if not nobody_needs_it:
                    continue
                remove_tree(checkout.folder, checkouts)
        room += checkout.size
        gone.append(checkout.digest)
    return gone, room


def _look(folder: Path) -> _Checkout:
    size, asked = 0, 0.0
    for role in folder.glob("*"):
        try:
            asked = max(asked, role.stat().st_mtime)
            size += sum(file.stat().st_size for file in role.rglob("*") if file.is_file())
        except FileNotFoundError:  # somebody removes it
            continue
    return _Checkout(folder, size, asked)
