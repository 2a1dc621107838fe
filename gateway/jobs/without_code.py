"""Jobs whose graders are code, where whoever runs the gateway has turned that off since.

A worker knows nothing of a gateway's configuration, so what is queued is ended here, before one
takes it; what runs is asked to end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.gateway.jobs.room import Room
from adapterworks.registry.index.database import AnyRow
from adapterworks.registry.jobs import events, lookup, queue, schema
from adapterworks.registry.jobs.job import BUILD_LANE, FINE_TUNING
from adapterworks.registry.jobs.states import ENDED
from adapterworks.registry.jobs.waits import give_up

CODE = "python_graders_off"
_SAID = "`python` graders were turned off here after it was made"

_jobs = schema.jobs


def end_code(room: Room, now: float) -> None:
    """End the jobs that would run tenants' code, if none is to be run.

    Args:
        now: seconds since the epoch.

    Raises:
        Unavailable: the index.
    """
    if room.table.python_graders:
        return
    with room.database.read() as connection:
        rows = connection.execute(_yet_to_learn()).all()
        found = [row.id for row in rows if _has_code(lookup.job_of(row).arguments.get("grader"))]
    for job in found:
        with room.database.write() as connection:
            _end(connection, job, now)


def _end(connection: Connection, job: str, now: float) -> None:
    row = lookup.row_of(connection, job)
    if row.state in ENDED or row.wanted == "cancel":
        return
    if row.state == "running":
        events.add(connection, job, f"the job is ended: {_SAID}", now, "error")
        queue.cancel(connection, job, now=now)
        return
    if row.state == "paused":
        queue.resume(connection, job, now=now)
    if give_up(connection, job, code=CODE, message=_SAID, now=now):
        events.add(connection, job, f"the job failed: {_SAID}", now, "error")


def _has_code(grader: Any) -> bool:
    if not isinstance(grader, Mapping):
        return False
    parts = grader.get("graders")
    parts = parts.values() if isinstance(parts, Mapping) else ()
    return grader.get("type") == "python" or any(map(_has_code, parts))


def _yet_to_learn() -> sa.Select[AnyRow]:
    return sa.select(_jobs).where(
        _jobs.c.kind == FINE_TUNING, _jobs.c.lane == BUILD_LANE, _jobs.c.state.not_in(ENDED)
    )
