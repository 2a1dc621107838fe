"""What was timed by a clock that was set back since: nothing waits until it is there again."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.jobs import schema
from adapterworks.registry.jobs.states import AT_WORK

AHEAD_S = 900.0
"""Longer than any lease, and no job is told to wait for longer: what is further ahead was written
before the clock was set back."""
_jobs = schema.jobs


def is_ahead(now: float) -> sa.ColumnElement[bool]:
    """Of which jobs a time lies further ahead than any is put."""
    return sa.or_(_waits(now), _held(now))


def set_back(connection: Connection, now: float, lease: float) -> None:
    """Let them go by the clock as it is now: who waits may run, and who runs renews its lease.

    Args:
        lease: seconds.
    """
    connection.execute(sa.update(_jobs).where(_waits(now)).values(not_before=now))
    connection.execute(sa.update(_jobs).where(_held(now)).values(lease_until=now + lease))


def _waits(now: float) -> sa.ColumnElement[bool]:
    # Of one that runs, too: it is queued as it stands when its worker is lost.
    return sa.and_(_jobs.c.state.in_(AT_WORK), _jobs.c.not_before > now + AHEAD_S)


def _held(now: float) -> sa.ColumnElement[bool]:
    return sa.and_(_jobs.c.state == "running", _jobs.c.lease_until > now + AHEAD_S)
