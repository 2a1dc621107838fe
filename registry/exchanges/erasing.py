"""Erasing what was kept of a tenant: rows, key, files, for good.

Invariant: the key goes before the files, so a copy of the files elsewhere (a backup, a snapshot)
can be read by nobody; doing it again finishes what was interrupted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import sqlalchemy as sa

from adapterworks.registry.exchanges.schema import erased, exchanges, reviews, shadows
from adapterworks.registry.exchanges.schema import feedback as said
from adapterworks.registry.exchanges.store import Exchanges


@dataclass(frozen=True, slots=True)
class Holding:
    """What there is of a tenant: exchanges, feedback on answers, files on this disk, and its key.

    Attributes:
        key: whether the key is in this folder of keys; of what was erased: whether it was
            destroyed. A machine that is not the gateways' has neither their files nor their keys.
    """

    exchanges: int
    feedback: int
    files: int
    key: bool


def holding(store: Exchanges, tenant: str) -> Holding:
    """What an erasure would remove."""
    with store.database.read() as connection:
        rows = [
            connection.scalar(
                sa.select(sa.func.count()).select_from(table).where(table.c.tenant == tenant)
            )
            for table in (exchanges, said)
        ]
    files = store.files
    return Holding(rows[0] or 0, rows[1] or 0, files.count(tenant), files.keys.has(tenant))


def erase(store: Exchanges, tenant: str, now: float) -> Holding:
    """Erase everything of a tenant; returns what there was.

    Raises:
        Unavailable: disk or index.
    """
    found = holding(store, tenant)
    with store.database.write() as connection:
        connection.execute(sa.delete(erased).where(erased.c.tenant == tenant))
        connection.execute(sa.insert(erased).values(tenant=tenant, at=now))
        for table in (exchanges, said, shadows, reviews):
            connection.execute(sa.delete(table).where(table.c.tenant == tenant))
    key = store.files.keys.destroy(tenant)
    store.files.remove_all(tenant)
    return replace(found, key=key)
