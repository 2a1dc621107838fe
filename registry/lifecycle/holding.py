"""Bytes that no release has are put and held: files of tenants, rows of datasets, seals.

Invariant: the lease is there before the bytes are put, so a gc that runs beside it never takes
them; what a killed writer put without listing it is collected when its lease has expired.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from pathlib import Path

from adapterworks.registry.blobs.store import BlobStore
from adapterworks.registry.index import stores
from adapterworks.registry.index.database import Database
from adapterworks.registry.lifecycle import leases

FOR_EVER_S = 100 * 365 * 86400.0
_POLL_S = 0.02


def hold(
    database: Database,
    blobs: BlobStore,
    kind: str,
    sources: Mapping[str, Path | bytes],
    *,
    holder: str,
    seconds: float = FOR_EVER_S,
) -> str:
    """Put bytes and hold them; returns the lease.

    Args:
        kind: of the lease.
        sources: digest → the bytes, or where they are.
        holder: who, for people.

    Raises:
        CorruptBlob: bytes do not hash to their digest; nothing is held.
    """
    with database.write() as connection:
        lease = leases.take(connection, kind, sources, holder=holder, seconds=seconds)
    try:
        wait_for_gc(database, sources)
        for digest, source in sources.items():
            blobs.put(digest, source)
    except BaseException:
        with database.write() as connection:
            leases.end(connection, lease)
        raise
    return lease


def wait_for_gc(database: Database, digests: Collection[str]) -> None:
    """Wait while a gc moves one of the blobs away; from now on the lease keeps them."""
    while True:
        with database.read() as connection:
            if not stores.are_doomed(connection, digests):
                return
        time.sleep(_POLL_S)
