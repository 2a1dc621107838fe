"""Leases: who needs which blobs now, so that gc keeps them.

A publish, a running build and a gateway that serves a release each hold one. A lease is taken and
checked under the database's write lock, and gc deletes under the same lock: a blob that was seen
after the lease was taken stays until the lease ends. Leases of the dead expire.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import NotFound
from adapterworks.registry.index import lookup, schema
from adapterworks.registry.index.clock import now_s
from adapterworks.registry.index.database import Database

LEASE_S = 3600.0
RENEWALS = 4  # attempts before a lease that is kept would expire
_log = logging.getLogger(__name__)

_leases, _lease_blobs = schema.leases, schema.lease_blobs
_release_blobs = schema.release_blobs


def take(
    connection: Connection,
    kind: str,
    blobs: Iterable[str],
    *,
    holder: str | None = None,
    seconds: float = LEASE_S,
) -> str:
    """Take a lease on blobs; returns its id.

    Args:
        kind: `publish`, `build`, `serving`, `file`, `part`, `job`, `dataset`, `seal` or `sent`.
        holder: who, for people; default `host:pid`.
    """
    lease = uuid.uuid4().hex
    connection.execute(
        sa.insert(_leases).values(
            id=lease,
            kind=kind,
            holder=holder or f"{socket.gethostname()}:{os.getpid()}",
            expires=now_s(connection) + seconds,
        )
    )
    rows = [{"lease": lease, "blob": blob} for blob in sorted(set(blobs))]
    if rows:
        connection.execute(sa.insert(_lease_blobs), rows)
    return lease


def renew(connection: Connection, lease: str, *, seconds: float = LEASE_S) -> bool:
    """Extend a lease; false when it has expired (take a new one and look again).

    Whether it was swept already is nobody's matter: a gc may have run since it expired.
    """
    now = now_s(connection)
    result = connection.execute(
        sa.update(_leases)
        .where(_leases.c.id == lease, _leases.c.expires >= now)
        .values(expires=now + seconds)
    )
    return result.rowcount == 1


def end(connection: Connection, lease: str) -> bool:
    """Give a lease back; false when it had expired: what it was on may be gone."""
    of_it = _leases.c.id == lease
    held = sa.select(_leases.c.id).where(of_it, _leases.c.expires >= now_s(connection))
    lasted = connection.scalar(held) is not None
    connection.execute(sa.delete(_lease_blobs).where(_lease_blobs.c.lease == lease))
    connection.execute(sa.delete(_leases).where(of_it))
    return lasted


def held_by(connection: Connection, kind: str, holder: str) -> list[str]:
    """The ids of a holder's leases of a kind."""
    query = sa.select(_leases.c.id).where(_leases.c.kind == kind, _leases.c.holder == holder)
    return list(connection.scalars(query))


def needed(connection: Connection, blob: str) -> bool:
    """Whether a lease that has not expired is on a blob."""
    query = (
        sa.select(_lease_blobs.c.blob)
        .join(_leases, _leases.c.id == _lease_blobs.c.lease)
        .where(_lease_blobs.c.blob == blob, _leases.c.expires >= now_s(connection))
        .limit(1)
    )
    return connection.scalar(query) is not None


def sweep(connection: Connection) -> int:
    """Remove expired leases; returns how many."""
    past = _leases.c.expires < now_s(connection)
    expired = sa.select(_leases.c.id).where(past)
    connection.execute(sa.delete(_lease_blobs).where(_lease_blobs.c.lease.in_(expired)))
    return connection.execute(sa.delete(_leases).where(past)).rowcount


class Lease:
    """A lease on whole releases, held by a running build or by whoever serves them.

    As a context manager it is renewed until the block ends, however long that takes. Other holders
    call `renew` well before its seconds have passed.
    """

    def __init__(self, database: Database, kind: str, digests: Iterable[str], seconds: float):
        """Take the lease.

        Raises:
            NotFound: a release was deleted or never published.
        """
        self._database = database
        self._kind = kind
        self._digests = tuple(digests)
        self._seconds = seconds
        self._over = threading.Event()
        self._take()

    def renew(self) -> None:
        """Extend the lease; takes it anew when it had expired.

        Raises:
            NotFound: it had expired and a release was deleted meanwhile.
        """
        with self._database.write() as connection:
            if renew(connection, self._id, seconds=self._seconds):
                return
        self._take()

    def end(self) -> None:
        """Give the lease back."""
        with self._database.write() as connection:
            end(connection, self._id)

    def _take(self) -> None:
        with self._database.write() as connection:
            for digest in self._digests:
                lookup.require_live(connection, digest)
            blobs = connection.scalars(
                sa.select(_release_blobs.c.blob).where(_release_blobs.c.release.in_(self._digests))
            ).all()
            self._id = take(connection, self._kind, blobs, seconds=self._seconds)

    def __enter__(self) -> Lease:
        self._over.clear()
        self._renewer = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._renewer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._renewer.join()
        self.end()

    def _keep(self) -> None:
        while not self._over.wait(self._seconds / RENEWALS):
            try:
                self.renew()
            except NotFound as error:  # it was deleted: its bytes are in the trash for a while
                _log.warning("no longer kept: %s", error.message)
                return
            except Exception:  # the index is away: the lease lasts for some more attempts
                _log.warning("a lease could not be renewed", exc_info=True)
