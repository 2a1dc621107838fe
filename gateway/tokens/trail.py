"""The trail of what was asked of the registry over HTTP that changes something; append-only.

Invariant: what is asked is in the trail before it is done, so nothing is done that is not there;
what came of it is a second row. One that lacks was cut off: the registry's own log says whether it
was done. Details never hold a token's text.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.gateway.storage.schema import trail
from adapterworks.registry.index.database import Database

DONE = 200
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asks for: a token's name and id, the action, and what it is about."""

    who: str
    token: str
    action: str
    subject: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One request with its outcome. `at` is in seconds since the epoch.

    Attributes:
        status: of the answer, as HTTP counts; None where it was cut off.
    """

    sequence: int
    at: float
    who: str
    token: str
    action: str
    subject: str
    details: dict[str, Any]
    status: int | None


def begun(connection: Connection, asked: Asked) -> int:
    """Note what is asked, in the caller's transaction; returns its sequence."""
    return _append(connection, asked, of=0, status=0, details=asked.details)


def ended(connection: Connection, sequence: int, asked: Asked, status: int) -> None:
    """Note what came of it."""
    _append(connection, asked, of=sequence, status=status, details={})


def entries(database: Database, *, after: int = 0) -> Iterator[Entry]:
    """Every entry after a sequence, oldest first, read in pages."""
    outcome = trail.alias()
    query = (
        sa.select(trail, outcome.c.status.label("outcome"))
        .outerjoin(outcome, outcome.c.of == trail.c.sequence)
        .where(trail.c.of == 0)
        .order_by(trail.c.sequence)
        .limit(_PAGE)
    )
    while True:
        with database.read() as connection:
            rows = connection.execute(query.where(trail.c.sequence > after)).all()
        for row in rows:
            yield Entry(
                row.sequence,
                row.at,
                row.who,
                row.token,
                row.action,
                row.subject,
                json.loads(row.details),
                row.outcome,
            )
        if len(rows) < _PAGE:
            return
        after = rows[-1].sequence


def _append(
    connection: Connection, asked: Asked, *, of: int, status: int, details: Mapping[str, Any]
) -> int:
    sequence = connection.scalar(
        sa.insert(trail)
        .values(
            of=of,
            at=time.time(),
            who=asked.who,
            token=asked.token,
            action=asked.action,
            subject=asked.subject,
            status=status,
            details=json.dumps(dict(details), ensure_ascii=False, sort_keys=True),
        )
        .returning(trail.c.sequence)
    )
    assert sequence is not None
    return int(sequence)
