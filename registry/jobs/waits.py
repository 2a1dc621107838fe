"""What a queued job waits for beside its turn: memory of a machine, or an engine that proves it.

It is in the job's result under `waits` for as long as it is waited for; `moves.py` forgets it when
the job is paused or has ended, so that a pause is no part of a wait.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.jobs import schema
from adapterworks.registry.jobs.moves import WAITS, move

_jobs = schema.jobs


@dataclass(frozen=True, slots=True)
class Waits:
    """A wait.

    Attributes:
        resource: what it is for.
        what: what has to come, in words.
        since: when it began, in seconds since the epoch.
        passed: of memory, the builds that came later and have begun meanwhile.
        first: of memory, whether what came later waits for it.
    """

    resource: Literal["memory", "engine"]
    what: str
    since: float
    passed: int = 0
    first: bool = False

    def noted(self) -> dict[str, Any]:
        """As it stands in a job's result."""
        return {WAITS: asdict(self)}


NOTHING: Mapping[str, Any] = {WAITS: None}
"""Of a job's result: it waits no more."""


def waits_of(result: Mapping[str, Any]) -> Waits | None:
    """What a job waits for, by its result."""
    noted = result.get(WAITS)
    return Waits(**noted) if noted else None


def begun(result: Mapping[str, Any], resource: str, now: float) -> float:
    """When a job began to wait for this; now, if it has not."""
    waits = waits_of(result)
    return waits.since if waits is not None and waits.resource == resource else now


def note(connection: Connection, job: str, waits: Waits) -> None:
    """Keep what a queued job waits for that nobody holds; another than a queued one is left."""
    row = connection.execute(_queued(job)).first()
    if row is not None:
        result = json.dumps({**json.loads(row.result), **waits.noted()}, ensure_ascii=False)
        connection.execute(sa.update(_jobs).where(_jobs.c.id == job).values(result=result))


def give_up(connection: Connection, job: str, *, code: str, message: str, now: float) -> bool:
    """End a queued job whose wait has no end; returns whether it was still queued."""
    row = connection.execute(_queued(job)).first()
    if row is None:
        return False
    move(connection, row, "running", now)
    row = connection.execute(sa.select(_jobs).where(_jobs.c.id == job)).one()
    move(connection, row, "failed", now, code=code, message=message)
    return True


def _queued(job: str) -> Any:
    return sa.select(_jobs).where(_jobs.c.id == job, _jobs.c.state == "queued")
