"""The queue: who runs which job next, and what came of it.

Each function takes the caller's write transaction, so that what it reads stays true until it
commits (`Database.write`), and `now`, which tests move.

Invariants:
- a job is run by one holder at a time; each write of a run names job, attempt *and* holder, so one
  that was taken for dead changes nothing any more (`Lost`);
- life is a renewed lease, not age; a job whose lease ran out is queued again, and fails after
  `MOST_LOST` losses, so that one that kills its workers does not kill them for ever;
- among tenants the one that has had the least for its weight is next; idling earns no credit;
  among a tenant's jobs the highest priority, then the oldest.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import Conflict, InvalidInput, NotFound
from adapterworks.registry.index.database import AnyRow
from adapterworks.registry.jobs import events, schema
from adapterworks.registry.jobs.job import (
    PREFIXES,
    Again,
    Claim,
    Done,
    Given,
    Handed,
    Job,
    NewJob,
    Outcome,
    Stop,
)
from adapterworks.registry.jobs.states import ENDED, FOLLOWS, State
from adapterworks.registry.lifecycle import leases

LEASE_S = 30.0
MOST_LOST = 5
MOST_TRIED = 5
# Longer than any job waits; the lease ends with the job.
_FILES_S = 10 * 365 * 86400.0

_jobs, _shares = schema.jobs, schema.shares


class Lost(Conflict):
    """The attempt is somebody else's now, or the job has ended: whoever runs it must stop."""


def put(connection: Connection, new: NewJob, *, now: float, most_queued: int | None = None) -> Job:
    """Queue a job.

    Args:
        most_queued: of the tenant's jobs that have not ended, of this kind.

    Raises:
        Conflict: the tenant has as many as it may.
    """
    mine = sa.and_(_jobs.c.tenant == new.tenant, _jobs.c.state.not_in(ENDED))
    if most_queued is not None:
        waiting = connection.scalar(
            sa.select(sa.func.count()).where(mine, _jobs.c.kind == new.kind)
        )
        if (waiting or 0) >= most_queued:
            raise Conflict(
                f"{waiting} jobs of yours have not ended yet, which is as many as you may have",
                hint="wait for one of them, or cancel it",
            )
    if connection.scalar(sa.select(_jobs.c.id).where(mine).limit(1)) is None:
        _arrive(connection, new.tenant)
    job = f"{PREFIXES[new.kind]}-{secrets.token_hex(12)}"
    connection.execute(
        sa.insert(_jobs).values(
            id=job,
            kind=new.kind,
            tenant=new.tenant,
            lane=new.lane,
            priority=new.priority,
            cost=new.cost,
            weight=new.weight,
            most_running=new.most_running,
            arguments=json.dumps(dict(new.arguments), ensure_ascii=False),
            labels=json.dumps(dict(new.labels), ensure_ascii=False),
            state="queued",
            wanted="",
            attempt=0,
            lost=0,
            tried=0,
            holder="",
            not_before=now,
            created=now,
            result="{}",
            code="",
            message="",
            param="",
        )
    )
    return get(connection, job)


def _arrive(connection: Connection, tenant: str) -> None:
    """A tenant that had nothing to do begins level with whoever has had the least."""
    busy = sa.select(_jobs.c.tenant).where(_jobs.c.state.not_in(ENDED))
    least = connection.scalar(
        sa.select(sa.func.min(_shares.c.served)).where(_shares.c.tenant.in_(busy))
    )
    if least is None:  # nobody is at work: level with whoever was served last
        least = connection.scalar(sa.select(sa.func.max(_shares.c.served))) or 0.0
    served = connection.scalar(sa.select(_shares.c.served).where(_shares.c.tenant == tenant))
    if served is None:
        connection.execute(sa.insert(_shares).values(tenant=tenant, served=least))
    elif served < least:
        connection.execute(
            sa.update(_shares).where(_shares.c.tenant == tenant).values(served=least)
        )


def is_something_to_do(connection: Connection, lanes: Iterable[str], *, now: float) -> bool:
    """Whether a claim may find a job; a read, so that idle workers take no lock."""
    ready = sa.and_(
        _jobs.c.state == "queued", _jobs.c.lane.in_(list(lanes)), _jobs.c.not_before <= now
    )
    dead = sa.and_(_jobs.c.state == "running", _jobs.c.lease_until < now)
    found = connection.scalar(sa.select(_jobs.c.id).where(sa.or_(ready, dead)).limit(1))
    return found is not None


def claim(
    connection: Connection,
    lanes: Iterable[str],
    *,
    holder: str,
    now: float,
    seconds: float = LEASE_S,
) -> tuple[Job, Claim] | None:
    """Take the next job of these lanes; None if there is none that may run.

    Args:
        holder: who runs it, unique among all that may be alive.
        seconds: until it is taken for dead unless it renews.
    """
    _rescue(connection, now)
    chosen = _next(connection, list(lanes), now)
    if chosen is None:
        return None
    taken = Claim(chosen.id, chosen.attempt + 1, holder)
    connection.execute(
        sa.update(_jobs)
        .where(_jobs.c.id == chosen.id)
        .values(
            state="running",
            attempt=taken.attempt,
            holder=holder,
            lease_until=now + seconds,
            started=sa.func.coalesce(_jobs.c.started, now),
        )
    )
    connection.execute(
        sa.update(_shares)
        .where(_shares.c.tenant == chosen.tenant)
        .values(served=_shares.c.served + chosen.cost / chosen.weight)
    )
    return get(connection, chosen.id), taken


def _next(connection: Connection, lanes: list[str], now: float) -> AnyRow | None:
    running = sa.select(_jobs.c.tenant, sa.func.count().label("count"))
    running = running.where(_jobs.c.state == "running").group_by(_jobs.c.tenant)
    busy = running.subquery()
    query = (
        sa.select(_jobs)
        .join(_shares, _shares.c.tenant == _jobs.c.tenant)
        .outerjoin(busy, busy.c.tenant == _jobs.c.tenant)
        .where(
            _jobs.c.state == "queued",
            _jobs.c.lane.in_(lanes),
            _jobs.c.not_before <= now,
            sa.or_(
                _jobs.c.most_running.is_(None),
                sa.func.coalesce(busy.c.count, 0) < _jobs.c.most_running,
            ),
        )
        .order_by(_shares.c.served, _jobs.c.tenant, _jobs.c.priority.desc(), _jobs.c.sequence)
        .limit(1)
    )
    return connection.execute(query).first()


def _rescue(connection: Connection, now: float) -> None:
    """Queue what its holders have lost; what was to be paused or cancelled is that now."""
    dead = sa.select(_jobs).where(_jobs.c.state == "running", _jobs.c.lease_until < now)
    for row in connection.execute(dead).all():
        if row.wanted:
            _move(connection, row, _asked(row), now)
        elif row.lost + 1 >= MOST_LOST:
            _move(
                connection,
                row,
                "failed",
                now,
                code="lost",
                message=f"whoever ran it died or was cut off, {MOST_LOST} times",
                lost=row.lost + 1,
            )
        else:
            _move(connection, row, "queued", now, lost=row.lost + 1)
            events.add(connection, row.id, "its worker was lost; it is queued again", now, "warn")


def renew(connection: Connection, held: Claim, *, now: float, seconds: float = LEASE_S) -> str:
    """Go on holding a job; returns what its owner asks for (`""`, `pause` or `cancel`).

    Raises:
        Lost: it is not the claim's any more.
    """
    row = require(connection, held)
    connection.execute(
        sa.update(_jobs).where(_jobs.c.id == held.job).values(lease_until=now + seconds)
    )
    return str(row.wanted)


def require(connection: Connection, held: Claim) -> AnyRow:
    """The claim's row, so that what follows in this transaction is its holder's to do.

    Raises:
        Lost: it is not the claim's any more.
    """
    row = connection.execute(
        sa.select(_jobs).where(
            _jobs.c.id == held.job,
            _jobs.c.attempt == held.attempt,
            _jobs.c.holder == held.holder,
            _jobs.c.state == "running",
        )
    ).first()
    if row is None:
        raise Lost(f"`{held.job}` is not run by `{held.holder}` any more")
    return row


def note(connection: Connection, held: Claim, result: Mapping[str, Any]) -> None:
    """Keep what a run has found out, beside what is known.

    Raises:
        Lost: it is not the claim's any more.
    """
    row = require(connection, held)
    merged = json.dumps({**json.loads(row.result), **result}, ensure_ascii=False)
    connection.execute(sa.update(_jobs).where(_jobs.c.id == held.job).values(result=merged))


def finish(connection: Connection, held: Claim, outcome: Outcome, *, now: float) -> Job:
    """What a run came to.

    Raises:
        Lost: it is not the claim's any more; nothing changed.
    """
    row = require(connection, held)
    match outcome:
        case Done(result):
            _move(connection, row, "succeeded", now, result=result)
        case Stop(code, message, param, result):
            _move(
                connection, row, "failed", now,
                result=result, code=code, message=message, param=param,
            )  # fmt: skip
        case Handed(lane, result):
            # What its owner asked for meanwhile comes before the next lane.
            _move(connection, row, _asked(row), now, result=result, lane=lane, lost=0, tried=0)
        case Given(state, result):
            _move(connection, row, state, now, result=result)
        case Again(after, why, counts):
            tried = row.tried + counts
            if row.wanted:
                _move(connection, row, _asked(row), now)
            elif tried >= MOST_TRIED:
                message = f"tried {tried} times: {why}"
                _move(connection, row, "failed", now, code="unavailable", message=message)
            else:
                _move(connection, row, "queued", now, tried=tried, not_before=now + after)
                events.add(connection, row.id, f"tried again later: {why}", now, "warn")
    return get(connection, held.job)


def _asked(row: AnyRow) -> State:
    """What a running job becomes when nobody runs it any more."""
    asked: dict[str, State] = {"": "queued", "pause": "paused", "cancel": "cancelled"}
    return asked[row.wanted]


def _move(
    connection: Connection,
    row: AnyRow,
    state: State,
    now: float,
    result: Mapping[str, Any] | None = None,
    **values: Any,
) -> None:
    """Put a job into a state that may follow its own."""
    if state not in FOLLOWS[row.state]:
        raise Conflict(f"`{row.id}` is {row.state}, which `{state}` does not follow")
    if result is not None:
        values["result"] = json.dumps({**json.loads(row.result), **result}, ensure_ascii=False)
    if state in ENDED:
        values["finished"] = now
        _let_go(connection, row.id)
    connection.execute(
        sa.update(_jobs)
        .where(_jobs.c.id == row.id)
        .values(state=state, wanted="", holder="", lease_until=None, **values)
    )


def hold_files(connection: Connection, job: str, blobs: Iterable[str]) -> None:
    """Keep the bytes of files that live now until the job has ended, whatever becomes of them."""
    leases.take(connection, "job", blobs, holder=job, seconds=_FILES_S)


def _let_go(connection: Connection, job: str) -> None:
    for lease in leases.held_by(connection, "job", job):
        leases.end(connection, lease)


def cancel(connection: Connection, job: str, *, now: float) -> Job:
    """Cancel a job: at once, or as soon as whoever runs it has stopped.

    Raises:
        NotFound: there is none of that id.
        Conflict: it has ended.
    """
    return _ask(connection, job, "cancel", "cancelled", now)


def pause(connection: Connection, job: str, *, now: float) -> Job:
    """Pause a job; one that runs stops at its newest checkpoint.

    Raises:
        NotFound: there is none of that id.
        Conflict: it has ended or is paused.
    """
    return _ask(connection, job, "pause", "paused", now)


def _ask(connection: Connection, job: str, wanted: str, state: State, now: float) -> Job:
    row = _row(connection, job)
    if row.state in ENDED or row.state == state:
        raise Conflict(f"the job `{job}` is {row.state}")
    if row.state == "running":
        if row.wanted != "cancel":
            connection.execute(sa.update(_jobs).where(_jobs.c.id == job).values(wanted=wanted))
    else:
        _move(connection, row, state, now)
    return get(connection, job)


def resume(connection: Connection, job: str, *, now: float) -> Job:
    """Let a paused job go on.

    Raises:
        NotFound: there is none of that id.
        Conflict: it is not paused.
    """
    row = _row(connection, job)
    if row.state == "running" and row.wanted == "pause":
        connection.execute(sa.update(_jobs).where(_jobs.c.id == job).values(wanted=""))
    elif row.state == "paused":
        _move(connection, row, "queued", now, not_before=now)
    else:
        raise Conflict(f"the job `{job}` is {row.state}, not paused")
    return get(connection, job)


def get(connection: Connection, job: str) -> Job:
    """A job.

    Raises:
        NotFound: there is none of that id.
    """
    return job_of(_row(connection, job))


def of_tenant(connection: Connection, job: str, tenant: str, kind: str) -> Job:
    """A job of a tenant's own; another's looks like one that does not exist.

    Raises:
        NotFound: the tenant has none of that id and kind.
    """
    try:
        found = get(connection, job)
    except NotFound:
        found = None
    if found is None or found.tenant != tenant or found.kind != kind:
        raise missing(job)
    return found


def listed(
    connection: Connection,
    *,
    tenant: str | None = None,
    kind: str | None = None,
    states: Iterable[str] = (),
    labels: Mapping[str, str] | None = None,
    after: str | None = None,
    limit: int = 20,
) -> tuple[list[Job], bool]:
    """Jobs, newest first, and whether there are more.

    Args:
        labels: only those with all of these; an empty mapping means those without any.
        after: the id of the last one of the page before.

    Raises:
        InvalidInput: `after` is none of them.
    """
    query = sa.select(_jobs).order_by(_jobs.c.sequence.desc())
    if tenant is not None:
        query = query.where(_jobs.c.tenant == tenant)
    if kind is not None:
        query = query.where(_jobs.c.kind == kind)
    if chosen := list(states):
        query = query.where(_jobs.c.state.in_(chosen))
    if after is not None:
        last = connection.execute(sa.select(_jobs).where(_jobs.c.id == after)).first()
        if last is None or (tenant is not None and last.tenant != tenant):
            raise InvalidInput(f"`after` is no job of yours: `{after[:80]}`")
        query = query.where(_jobs.c.sequence < last.sequence)
    found: list[Job] = []
    for row in connection.execute(query):
        job = job_of(row)
        if labels is None or (labels.items() <= job.labels.items() if labels else not job.labels):
            found.append(job)
        if len(found) > limit:
            break
    return found[:limit], len(found) > limit


def missing(job: str) -> NotFound:
    """The one answer to a job that does not exist and to another tenant's."""
    return NotFound(f"there is no job `{job[:80]}`", hint="list the jobs you have")


def job_of(row: AnyRow) -> Job:
    """A row as a value."""
    return Job(
        sequence=row.sequence,
        id=row.id,
        kind=row.kind,
        tenant=row.tenant,
        lane=row.lane,
        priority=row.priority,
        arguments=json.loads(row.arguments),
        labels=json.loads(row.labels),
        state=row.state,
        wanted=row.wanted,
        attempt=row.attempt,
        holder=row.holder,
        created=row.created,
        started=row.started,
        finished=row.finished,
        result=json.loads(row.result),
        code=row.code,
        message=row.message,
        param=row.param,
    )


def _row(connection: Connection, job: str) -> AnyRow:
    row = connection.execute(sa.select(_jobs).where(_jobs.c.id == job)).first()
    if row is None:
        raise missing(job)
    return row
