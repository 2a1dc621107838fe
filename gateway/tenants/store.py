"""Tenants and keys as a running gateway sees them: from memory, no older than a poll.

Invariants:
- `authenticate` runs no SQL: a key is looked up by its id in a snapshot and compared by digest in
  constant time. No text from a client ever reaches the database.
- A change made in any process (revoked key, removed tenant, new limit) holds in this one within
  `POLL_SECONDS` and the time of one query: a counter, bumped in the change's own transaction, is
  polled by a thread.
- Fail closed: once the index has not answered for `STALE_SECONDS`, nobody is let in, because a
  revocation could not be seen any more.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import dataclass

import sqlalchemy as sa

from adapterworks.gateway.storage.migrations import migrate
from adapterworks.gateway.storage.schema import keys, revision, tenants
from adapterworks.gateway.supervision.supervisor import Supervisor, Worker
from adapterworks.gateway.tenants.consent import consent_of
from adapterworks.gateway.tenants.errors import Unauthorized, bad_key, no_key
from adapterworks.gateway.tenants.keys import key_id_of, matches
from adapterworks.gateway.tenants.tenant import OPEN_TENANT, Limits, Tenant
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.index.database import Database

__all__ = ["OPEN_TENANT", "Limits", "Tenant", "TenantStore", "Unauthorized"]

POLL_SECONDS = 0.2
STALE_SECONDS = 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Key:
    digest: str
    expires: float | None
    tenant: Tenant


@dataclass(frozen=True, slots=True)
class _Snapshot:
    revision: int
    keys: dict[str, _Key]


class TenantStore:
    """The tenants of an index, for authentication.

    `start` begins polling, `close` ends it; `authenticate` may be called from any thread.
    """

    def __init__(self, database: Database) -> None:
        migrate(database)
        self._database = database
        self._confirmed = time.monotonic()
        self._snapshot = self._load()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def authenticate(self, key: str | None) -> Tenant:
        """The tenant of a key.

        Args:
            key: what the client sent after `Bearer`, untrusted; None if it sent nothing.

        Raises:
            Unauthorized: no key, or one that does not work; the same for every reason.
            Unavailable: the index has not answered for too long to trust the snapshot.
        """
        if not key:
            raise no_key()
        if time.monotonic() - self._confirmed > STALE_SECONDS:
            raise Unavailable(
                "keys cannot be checked: the index does not answer",
                hint="see the gateway's log; `adapters doctor` checks the index",
                retry_after=5.0,
            )
        key_id = key_id_of(key)
        known = self._snapshot.keys.get(key_id) if key_id else None
        if not matches(key, known.digest if known else None) or known is None:
            raise bad_key()
        if known.expires is not None and known.expires <= time.time():
            raise bad_key()
        return known.tenant

    def find(self, tenant: str) -> Tenant | None:
        """A tenant by its id, while it has a key that works; from memory."""
        now = time.time()
        return next(
            (
                key.tenant
                for key in self._snapshot.keys.values()
                if key.tenant.id == tenant and (key.expires is None or key.expires > now)
            ),
            None,
        )

    def refresh(self) -> bool:
        """Look once whether anything changed, and take it over; returns whether it did."""
        asked = time.monotonic()
        with self._database.read() as connection:
            current = connection.scalar(sa.select(revision.c.value))
        changed = current != self._snapshot.revision
        if changed:
            self._snapshot = self._load()
        self._confirmed = asked
        return changed

    def start(self, supervisor: Supervisor | None = None) -> None:
        """Poll from a thread until `close`."""
        if self._thread is None:
            supervisor = supervisor or Supervisor()
            self._thread = supervisor.thread("tenants", self._poll, patience=STALE_SECONDS)

    def close(self) -> None:
        """Stop polling."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def _poll(self, worker: Worker) -> None:
        failing = False
        while not self._closing.wait(POLL_SECONDS):
            try:
                self.refresh()
            except Unavailable as error:
                if not failing:
                    _log.warning("tenants cannot be read from the index: %s", error)
                failing = True
            else:
                worker.beat()
                failing = False

    def _load(self) -> _Snapshot:
        # The counter is read first: a change between the two reads is loaded once more, never lost.
        query = (
            sa.select(tenants, keys.c.id.label("key"), keys.c.digest, keys.c.expires)
            .join(keys, keys.c.tenant == tenants.c.id)
            .where(tenants.c.removed.is_(None), keys.c.revoked.is_(None))
        )
        with self._database.read() as connection:
            value = connection.scalar(sa.select(revision.c.value))
            rows = connection.execute(query).all()
        by_id: dict[str, Tenant] = {}
        found: dict[str, _Key] = {}
        for row in rows:
            tenant = by_id.setdefault(row.id, tenant_of(row))
            found[row.key] = _Key(row.digest, row.expires, tenant)
        return _Snapshot(int(value or 0), found)


def tenant_of(row: sa.Row[tuple[object, ...]]) -> Tenant:
    """The tenant in a row of `gateway_tenants`."""
    return Tenant(
        id=row.id,
        name=row.name,
        allow=tuple(json.loads(row.allow)),
        cache_salt=row.cache_salt,
        limits=Limits(row.rpm, row.tpm, row.max_concurrency, row.monthly_tokens),
        weight=row.weight,
        consent=consent_of(row.capture),
    )
