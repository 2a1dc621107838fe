"""The audit log of admin actions: who did what to which tenant, when; append-only.

Invariant: an action and its entry are one transaction, so neither is there without the other, and
the database refuses to change or remove an entry. Details never hold a key's text or a salt.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.gateway.storage.schema import audit
from adapterworks.registry.index.database import Database


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action. `at` is in seconds since the epoch; `tenant` is the name at that time."""

    sequence: int
    at: float
    who: str
    action: str
    tenant: str
    details: dict[str, Any]


def record(
    connection: Connection, *, who: str, action: str, tenant: str, details: Mapping[str, Any]
) -> None:
    """Append an entry inside the caller's transaction."""
    connection.execute(
        sa.insert(audit).values(
            at=time.time(),
            who=who,
            action=action,
            tenant=tenant,
            details=json.dumps(details, ensure_ascii=False, sort_keys=True),
        )
    )


def entries(
    database: Database, *, tenant: str | None = None, limit: int = 100, before: int | None = None
) -> list[AuditEntry]:
    """The newest `limit` entries, newest first; `before` (a sequence) pages on."""
    query = sa.select(audit).order_by(audit.c.sequence.desc()).limit(limit)
    if tenant is not None:
        query = query.where(audit.c.tenant == tenant)
    if before is not None:
        query = query.where(audit.c.sequence < before)
    with database.read() as connection:
        return [
            AuditEntry(
                row.sequence, row.at, row.who, row.action, row.tenant, json.loads(row.details)
            )
            for row in connection.execute(query)
        ]


def key_makers(database: Database, tenant: str) -> list[str]:
    """Whoever was ever shown a key of a tenant's: those who made one, by name."""
    made = audit.c.action.in_(("tenant.add", "key.add"))
    query = sa.select(audit.c.who).where(audit.c.tenant == tenant, made).distinct()
    with database.read() as connection:
        return sorted(connection.scalars(query))
