"""Jobs that are built and that nobody proves: their owners are told, and after long they end.

Any gateway does this for all of them: that a lane's jobs wait while nobody runs one of it is seen
by whoever looks at the queue. A wait is without interruption: while an engine proves others' jobs
of the lane, it is no engine's absence that a job stands for.
"""

from __future__ import annotations

import sqlalchemy as sa

from adapterworks.gateway.jobs.room import Room
from adapterworks.registry.index.database import AnyRow
from adapterworks.registry.jobs import events, lookup, schema
from adapterworks.registry.jobs.job import PROOF_LANE, Job
from adapterworks.registry.jobs.waits import Waits, begun, give_up, note, waits_of

NOT_PROVED = "not_proved"
PATIENCE_S = 60.0
"""A gateway that has an engine takes a job within a second; after this nobody has one."""
_RECENT_S = 10.0

_jobs = schema.jobs
# Each lane of proofs → when one was last proved there.
_PROVED = (
    sa.select(_jobs.c.lane, sa.func.max(_jobs.c.finished).label("at"))
    .where(_jobs.c.state == "succeeded", _jobs.c.lane.startswith(PROOF_LANE))
    .group_by(_jobs.c.lane)
)


def tell_waits(room: Room, now: float) -> None:
    """Note which jobs wait for an engine, tell it, and end those that have waited for too long.

    Args:
        now: seconds since the epoch.
    """
    with room.database.read() as connection:
        waiting = [lookup.job_of(row) for row in connection.execute(_nobody_proves(now)).all()]
        proved = {row.lane: row.at for row in connection.execute(_PROVED).all()}
    for job in waiting:
        since, what, waits = begun(job.result, "engine", now), _what(job), waits_of(job.result)
        if waits is not None and waits.what == what:  # while others' were proved there was one
            since = max(since, proved.get(job.lane) or 0.0)
        with room.database.write() as connection:
            if now - since >= room.table.proof_hours * 3600:
                said = not_proved(room, job)
                if give_up(connection, job.id, code=NOT_PROVED, message=said, now=now):
                    events.add(connection, job.id, f"the job failed: {said}", now, "error")
                continue
            note(connection, job.id, Waits("engine", what, since))
            if now - since >= PATIENCE_S:
                said = f"built, and waits for {what}: no gateway has one that is ready"
                events.add_once(connection, job.id, said, now, "warn")


def _what(job: Job) -> str:
    return f"an engine that serves `{job.arguments.get('base', 'its base')}`"


def not_proved(room: Room, job: Job) -> str:
    """Why a job that was built has failed without a word of an engine's."""
    hours = f"{room.table.proof_hours:g}"
    return (
        f"no engine of its base could prove it for {hours} hours; `{job.result['ref']}` stays as a "
        "version without an alias, and the same job, asked for again, is not trained again"
    )


def _nobody_proves(now: float) -> sa.Select[AnyRow]:
    """The queued jobs of proofs whose lane nobody works at, of tenants that have none proved."""
    running = sa.select(_jobs).where(
        _jobs.c.state == "running", _jobs.c.lane.startswith(PROOF_LANE)
    )
    busy = running.subquery()
    same = sa.or_(busy.c.lane == _jobs.c.lane, busy.c.tenant == _jobs.c.tenant)
    return sa.select(_jobs).where(
        _jobs.c.state == "queued",
        _jobs.c.lane.startswith(PROOF_LANE),
        _jobs.c.not_before < now - _RECENT_S,  # later than that it was tried just now
        ~sa.exists().where(same),
    )
