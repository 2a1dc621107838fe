"""Bytes that no release has are put and held: files of tenants, rows of datasets, seals.

    erased? → lease → (wait for a gc that is moving one of them) → put → listed by the caller

Invariants:
- the lease is there before the bytes are put, so a gc that runs beside it never takes them; what a
  killed writer put without listing it is collected when its lease has expired: only the transaction
  that lists bytes holds them for longer (`keep`);
- bytes that are to stay have a deposit (`releases/deposit.py`) beside them, which the index knows
  before it is put;
- what was erased here is not put again.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Mapping
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import Conflict, Refused
from adapterworks.registry.blobs.store import BlobStore
from adapterworks.registry.index import absences, schema, stores
from adapterworks.registry.index.clock import now_s
from adapterworks.registry.index.database import Database
from adapterworks.registry.lifecycle import leases
from adapterworks.registry.releases.deposit import KINDS, Deposit

FOR_EVER_S = 100 * 365 * 86400.0
UNLISTED_S = 86400.0  # longer than anybody takes from putting bytes to listing them
_POLL_S = 0.02
_MOST_OLDER = 10_000  # deposits that one gc makes for bytes of before there were any

_leases, _lease_blobs, _begun = schema.leases, schema.lease_blobs, schema.begun


def hold(
    database: Database,
    blobs: BlobStore,
    kind: str,
    sources: Mapping[str, Path | bytes],
    *,
    holder: str,
    seconds: float,
) -> str:
    """Put bytes and hold them for a time; returns the lease.

    Args:
        kind: of the lease.
        sources: digest → the bytes, or where they are.
        holder: who, for people.

    Raises:
        CorruptBlob: bytes do not hash to their digest; nothing is held.
        Refused: some were erased here; nothing is held.
    """
    with database.write() as connection:
        _refuse_erased(connection, sources)
        lease = leases.take(connection, kind, sources, holder=holder, seconds=seconds)
    _put(database, blobs, lease, sources)
    return lease


def deposit(
    database: Database,
    blobs: BlobStore,
    kind: str,
    sources: Mapping[str, Path | bytes],
    *,
    holder: str,
) -> str:
    """Put bytes that the caller lists next, with their deposit; returns the lease, for `keep`.

    Args:
        kind: one of `deposit.KINDS`.
        sources: digest → the bytes, or where they are.
        holder: a dataset's name, a test set's, a file's id.

    Raises:
        CorruptBlob, Refused: as `hold`.
    """
    told = Deposit(kind, holder, secrets.token_hex(16), tuple(sorted(sources)))
    with database.write() as connection:
        _refuse_erased(connection, sources)
        lease = leases.take(
            connection, kind, [*sources, told.digest], holder=holder, seconds=UNLISTED_S
        )
        stores.begin(connection, told.digest)
    _put(database, blobs, lease, {**sources, told.digest: told.to_bytes()})
    return lease


def keep(connection: Connection, lease: str, seconds: float = FOR_EVER_S) -> None:
    """Let what was put stay, in the transaction that lists it.

    Raises:
        Conflict: it took more than a day, and a gc may have taken the bytes.
    """
    if not leases.renew(connection, lease, seconds=seconds):
        raise Conflict("the bytes were put more than a day ago and may be gone", hint="do it again")


def take_over(connection: Connection, known: Deposit) -> None:
    """Hold what a deposit in the store is about for ever, in the transaction that lists it."""
    stores.begin(connection, known.digest)
    held = [*known.blobs, known.digest]
    leases.take(connection, known.kind, held, holder=known.holder, seconds=FOR_EVER_S)


def deposit_older(database: Database, blobs: BlobStore) -> int:
    """Give bytes a deposit that are held since before there were any; returns how many."""
    has_one = sa.exists().where(
        _lease_blobs.c.lease == _leases.c.id, _lease_blobs.c.blob == _begun.c.release
    )
    with database.read() as connection:
        query = sa.select(_leases.c.id, _leases.c.kind, _leases.c.holder).where(
            _leases.c.kind.in_(KINDS), _leases.c.expires >= now_s(connection), ~has_one
        )
        older = connection.execute(query.order_by(_leases.c.id).limit(_MOST_OLDER)).all()
    for lease, kind, holder in older:
        of_it = sa.select(_lease_blobs.c.blob).where(_lease_blobs.c.lease == lease)
        with database.write() as connection:
            held = tuple(sorted(connection.scalars(of_it)))
            if not held:  # it ended meanwhile
                continue
            told = Deposit(kind, holder, lease, held)
            stores.begin(connection, told.digest)
            connection.execute(sa.insert(_lease_blobs).values(lease=lease, blob=told.digest))
        blobs.put(told.digest, told.to_bytes())
    return len(older)


def wait_for_gc(database: Database, digests: Collection[str]) -> None:
    """Wait while a gc moves one of the blobs away; from now on the lease keeps them."""
    while True:
        with database.read() as connection:
            if not stores.are_doomed(connection, digests):
                return
        time.sleep(_POLL_S)


def _put(
    database: Database, blobs: BlobStore, lease: str, sources: Mapping[str, Path | bytes]
) -> None:
    try:
        wait_for_gc(database, sources)
        for digest, source in sources.items():
            blobs.put(digest, source)
        with database.read() as connection:
            gone = absences.erased(connection, sources)
            for digest in gone:  # meanwhile: an erasure has the last word
                blobs.delete(digest)
            _refuse_erased(connection, gone)
    except BaseException:
        with database.write() as connection:
            leases.end(connection, lease)
        raise


def _refuse_erased(connection: Connection, digests: Collection[str]) -> None:
    for digest, gone in absences.erased(connection, digests).items():
        raise Refused(
            f"these bytes were {gone}",
            hint=f"what was erased does not come back ({digest})",
        )
