"""What happened to a job: events and checkpoints, in order, kept for ever."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.index.database import AnyRow
from adapterworks.registry.jobs import schema

Level = Literal["info", "warn", "error"]
METRICS = "metrics"
MESSAGE = "message"

_events, _checkpoints = schema.events, schema.checkpoints


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; `at` in seconds since the epoch."""

    sequence: int
    id: str
    at: float
    level: Level
    kind: str
    message: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A step whose state was kept, with what was measured there."""

    sequence: int
    id: str
    step: int
    at: float
    metrics: Mapping[str, float]


def add(
    connection: Connection,
    job: str,
    message: str,
    now: float,
    level: Level = "info",
    *,
    kind: str = MESSAGE,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Append an event."""
    connection.execute(
        sa.insert(_events).values(
            id=f"ftevent-{secrets.token_hex(12)}",
            job=job,
            at=now,
            level=level,
            kind=kind,
            message=message,
            data=json.dumps(dict(data or {}), ensure_ascii=False),
        )
    )


def add_once(
    connection: Connection, job: str, message: str, now: float, level: Level = "info"
) -> None:
    """Append a message, unless the newest of its level is the same: a wait is told once."""
    same = sa.and_(_events.c.job == job, _events.c.level == level)
    newest_first = sa.select(_events.c.message).where(same).order_by(_events.c.sequence.desc())
    if connection.scalar(newest_first.limit(1)) != message:
        add(connection, job, message, now, level)


def add_checkpoint(
    connection: Connection, job: str, step: int, metrics: Mapping[str, float], now: float
) -> bool:
    """Note a checkpoint; one of the same step, made again after a loss, is the same.

    Returns whether it is a new one.
    """
    known = sa.select(_checkpoints.c.id).where(
        _checkpoints.c.job == job, _checkpoints.c.step == step
    )
    if connection.scalar(known) is not None:
        return False
    connection.execute(
        sa.insert(_checkpoints).values(
            id=f"ftckpt-{secrets.token_hex(12)}",
            job=job,
            step=step,
            at=now,
            metrics=json.dumps(dict(metrics)),
        )
    )
    return True


def newest(
    connection: Connection, job: str, *, after: str | None = None, limit: int = 20
) -> tuple[list[Event], bool]:
    """Events, newest first, and whether there are more.

    Raises:
        InvalidInput: `after` is no event of the job.
    """
    rows, more = _page(connection, _events, job, after, limit)
    return [_event(row) for row in rows], more


def since(
    connection: Connection, job: str, sequence: int, *, limit: int | None = None
) -> list[Event]:
    """The events after one, oldest first.

    Args:
        limit: how many at most.
    """
    query = sa.select(_events).where(_events.c.job == job, _events.c.sequence > sequence)
    rows = connection.execute(query.order_by(_events.c.sequence).limit(limit))
    return [_event(row) for row in rows]


def checkpoints(
    connection: Connection, job: str, *, after: str | None = None, limit: int = 10
) -> tuple[list[Checkpoint], bool]:
    """Checkpoints, newest first, and whether there are more.

    Raises:
        InvalidInput: `after` is no checkpoint of the job.
    """
    rows, more = _page(connection, _checkpoints, job, after, limit)
    return [
        Checkpoint(row.sequence, row.id, row.step, row.at, json.loads(row.metrics)) for row in rows
    ], more


def _page(
    connection: Connection, table: sa.Table, job: str, after: str | None, limit: int
) -> tuple[Sequence[AnyRow], bool]:
    query = sa.select(table).where(table.c.job == job).order_by(table.c.sequence.desc())
    if after is not None:
        last = connection.scalar(
            sa.select(table.c.sequence).where(table.c.id == after, table.c.job == job)
        )
        if last is None:
            raise InvalidInput(f"`after` is none of this job's: `{after[:80]}`")
        query = query.where(table.c.sequence < last)
    rows = connection.execute(query.limit(limit + 1)).all()
    return rows[:limit], len(rows) > limit


def _event(row: AnyRow) -> Event:
    return Event(
        row.sequence, row.id, row.at, row.level, row.kind, row.message, json.loads(row.data)
    )
