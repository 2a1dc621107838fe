"""Usage in the index: events inserted once, their sums kept beside them, reports from the sums.

Invariant: a row of `gateway_usage_days` is the sum of exactly the events of its day, tenant,
release and ref that `gateway_usage_events` holds, because both change in one transaction.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from adapterworks.gateway.metering.event import UsageEvent
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.gateway.storage.schema import tenants, usage_days, usage_events
from adapterworks.gateway.tenants.tenant import OPEN_TENANT
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.registry.index.database import Database

By = Literal["day", "month", "tenant", "release", "ref"]
GROUPS: tuple[By, ...] = ("day", "month", "tenant", "release", "ref")
SUMS = ("requests", "failures", "cold_loads", "prompt_tokens", "completion_tokens")
_KEY = ("day", "tenant", "release", "ref")
_SIZES = (256, 64, 16, 4, 1)  # of events that one statement inserts


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Sums of one group. `group` holds the values grouped by, in the order asked for."""

    group: dict[str, str]
    requests: int
    failures: int
    cold_loads: int
    prompt_tokens: int
    completion_tokens: int

    def to_json(self) -> dict[str, Any]:
        """Flat: the group's keys, then the sums and `total_tokens`."""
        sums = {name: getattr(self, name) for name in SUMS}
        total = self.prompt_tokens + self.completion_tokens
        return {**self.group, **sums, "total_tokens": total}


def insert_events(database: Database, events: Sequence[UsageEvent]) -> int:
    """Insert events and raise the sums; returns how many were not there before."""
    dialect = sqlite if database.is_sqlite else postgresql
    insert = (
        dialect.insert(usage_events)
        .on_conflict_do_nothing(index_elements=["request_id"])
        .returning(usage_events.c.request_id)
    )
    unique = {event.request_id: event for event in events}
    new: list[str] = []
    with database.write(lock="metering") as connection:
        for part in _parts([event.values() for event in unique.values()]):
            new += connection.execute(insert, part).scalars()
        sums: defaultdict[tuple[str, ...], list[int]] = defaultdict(lambda: [0] * len(SUMS))
        for request_id in new:
            event = unique[request_id]
            row = sums[(day_of(event.started), event.tenant, event.release, event.ref)]
            counts = (1, event.status >= 400, event.cold_load)
            for index, value in enumerate((*counts, event.prompt_tokens, event.completion_tokens)):
                row[index] += value
        if sums:
            add = dialect.insert(usage_days)
            raised = {name: usage_days.c[name] + add.excluded[name] for name in SUMS}
            connection.execute(
                add.on_conflict_do_update(index_elements=list(_KEY), set_=raised),
                [dict(zip(_KEY + SUMS, (*key, *row), strict=True)) for key, row in sums.items()],
            )
        return len(new)


def _parts(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows in parts of few sizes.

    The text of a statement that inserts n rows depends on n, and each connection keeps a hundred
    prepared ones: of any size, they are megabytes of each connection.
    """
    at = 0
    for size in _SIZES:
        while len(rows) - at >= size:
            yield rows[at : at + size]
            at += size


def prune(database: Database, *, days: int, most: int = 1000) -> int:
    """Remove the oldest events, if they are older than `days`; returns how many.

    The sums stay. At most `most` at once, so that no other writer waits for long (ADR 22).
    """
    before = time.time() - days * 86400
    old = (
        sa.select(usage_events.c.request_id)
        .where(usage_events.c.started < before)
        .order_by(usage_events.c.started)
        .limit(most)
    )
    with database.write(lock="metering") as connection:
        gone = sa.delete(usage_events).where(usage_events.c.request_id.in_(old))
        return connection.execute(gone).rowcount


def usage(
    database: Database,
    *,
    by: Sequence[By] = ("day",),
    tenant: str | None = None,
    tenant_id: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> list[UsageRow]:
    """Sums by the groups of `by`, ordered by them.

    Args:
        tenant: only this tenant, by name; a name used again after its tenant was removed means all
            tenants that had it.
        tenant_id: only this one, whatever others have had its name.
        since, until: first and last day, `2026-11-01`, both included, UTC.

    Raises:
        InvalidInput: a day is malformed.
        NotFound: there never was such a tenant.
    """
    migrate(database)
    month = sa.func.substr(usage_days.c.day, 1, 7)
    name = sa.func.coalesce(tenants.c.name, usage_days.c.tenant)
    columns = {
        "month": month,
        "tenant": name,
        **{c: usage_days.c[c] for c in _KEY if c != "tenant"},
    }
    groups = [columns[group] for group in by]
    query = (
        sa.select(
            *(column.label(group) for column, group in zip(groups, by, strict=True)),
            *(sa.func.sum(usage_days.c[name]).label(name) for name in SUMS),
        )
        .select_from(usage_days.outerjoin(tenants, tenants.c.id == usage_days.c.tenant))
        .group_by(*groups)
        .order_by(*groups)
    )
    with database.read() as connection:
        if tenant is not None:
            ids = connection.scalars(sa.select(tenants.c.id).where(tenants.c.name == tenant)).all()
            if not ids and tenant != OPEN_TENANT.id:
                raise NotFound(f"there is no tenant `{tenant}`", hint="see `adapters tenant list`")
            query = query.where(usage_days.c.tenant.in_(ids or [tenant]))
        if tenant_id is not None:
            query = query.where(usage_days.c.tenant == tenant_id)
        if since is not None:
            query = query.where(usage_days.c.day >= _checked_day(since))
        if until is not None:
            query = query.where(usage_days.c.day <= _checked_day(until))
        return [
            UsageRow(
                {group: row[group] for group in by},
                **{name: int(row[name] or 0) for name in SUMS},
            )
            for row in connection.execute(query).mappings()
            if row["requests"]
        ]


def day_of(started: float) -> str:
    """The UTC day of a time in seconds since the epoch."""
    return datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%d")


def _checked_day(text: str) -> str:
    try:
        return datetime.strptime(text, "%Y-%m-%d").strftime("%Y-%m-%d")
    except ValueError as error:
        raise InvalidInput(f"`{text}` is not a day", hint="write it as 2026-11-01") from error
