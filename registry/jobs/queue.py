"""The queue: who runs which job next, and what came of it.

Each function takes the caller's write transaction, so that what it reads stays true until it
commits (`Database.write`), and `now`, which tests move.

Invariants:
- a job is run by one holder at a time; each write of a run names job, attempt *and* holder, so one
  that was taken for dead changes nothing any more (`Lost`);
- life is a renewed lease, not age; a job whose lease ran out is queued again, and fails after
  `MOST_LOST` losses, so that one that kills its workers does not kill them for ever;
- what was answered of a job is listed before it ends, whatever ends it: one that has answers is
  given out once more for that;
- among tenants the one that has had the least for its weight is next; idling earns no credit;
  among a tenant's jobs the highest priority, then the oldest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import Conflict
from adapterworks.registry.index.database import AnyRow
from adapterworks.registry.jobs import events, lookup, schema, shares
from adapterworks.registry.jobs.ahead import AHEAD_S, is_ahead, set_back
from adapterworks.registry.jobs.job import (
    PROOF_LANE,
    Again,
    Claim,
    Done,
    Given,
    Handed,
    Job,
    Outcome,
    Stop,
)
from adapterworks.registry.jobs.moves import asked, has_answers, move, stopped
from adapterworks.registry.jobs.states import ENDED, State

LEASE_S = 30.0
MOST_LOST = 5
MOST_TRIED = 5

_jobs, _shares = schema.jobs, shares.table


class Lost(Conflict):
    """The attempt is somebody else's now, or the job has ended: whoever runs it must stop."""


def is_something_to_do(connection: Connection, lanes: Iterable[str], *, now: float) -> bool:
    """Whether a claim may find a job; a read, so that idle workers take no lock."""
    ready = sa.and_(
        _jobs.c.state == "queued", _jobs.c.lane.in_(list(lanes)), _jobs.c.not_before <= now
    )
    dead = sa.and_(_jobs.c.state == "running", _jobs.c.lease_until < now)
    found = sa.select(_jobs.c.id).where(sa.or_(ready, dead, is_ahead(now)))
    return connection.scalar(found.limit(1)) is not None


def is_anything_left(connection: Connection, lanes: Iterable[str]) -> bool:
    """Whether a job of these lanes waits for its turn or is being run."""
    left = sa.and_(_jobs.c.state.in_(("queued", "running")), _jobs.c.lane.in_(list(lanes)))
    return connection.scalar(sa.select(_jobs.c.id).where(left).limit(1)) is not None


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
    set_back(connection, now, LEASE_S)
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
    shares.charge(connection, chosen.tenant, chosen.cost, chosen.weight)
    return lookup.get(connection, chosen.id), taken


def _next(connection: Connection, lanes: list[str], now: float) -> AnyRow | None:
    # A tenant's trainings do not keep its proofs and batches waiting: others run those.
    place = sa.case((_jobs.c.lane.startswith(PROOF_LANE), PROOF_LANE), else_=_jobs.c.lane)
    running = sa.select(_jobs.c.tenant, place.label("place"), sa.func.count().label("count"))
    running = running.where(_jobs.c.state == "running").group_by(_jobs.c.tenant, place)
    busy = running.subquery()
    query = (
        sa.select(_jobs)
        .join(_shares, _shares.c.tenant == _jobs.c.tenant)
        .outerjoin(busy, sa.and_(busy.c.tenant == _jobs.c.tenant, busy.c.place == place))
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
        answers = has_answers(connection, row.id)
        if row.wanted == "cancel" and answers and row.lost < MOST_LOST:
            move(connection, row, "queued", now, lost=row.lost + 1, wanted="cancel")
        elif row.wanted:
            move(connection, row, asked(row), now)
        elif row.lost + 1 >= MOST_LOST + answers:
            said = f"whoever ran it died or was cut off, {row.lost + 1} times"
            move(connection, row, "failed", now, code="lost", message=said, lost=row.lost + 1)
        else:
            move(connection, row, "queued", now, lost=row.lost + 1)
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


def came_on(connection: Connection, held: Claim) -> None:
    """It comes on: that it was lost or tried in vain before does not count any more."""
    counted = sa.or_(_jobs.c.lost > 0, _jobs.c.tried > 0)
    connection.execute(
        sa.update(_jobs).where(_jobs.c.id == held.job, counted).values(lost=0, tried=0)
    )


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
            move(connection, row, "succeeded", now, result=result)
        case Stop(code, message, param, result):
            move(
                connection, row, "failed", now,
                result=result, code=code, message=message, param=param,
            )  # fmt: skip
        case Handed(lane, result):
            # What its owner asked for meanwhile comes before the next lane.
            stopped(connection, row, now, result=result, lane=lane, lost=0, tried=0)
        case Given("cancelled", result):  # what was answered of it is listed by now
            move(connection, row, asked(row), now, result=result)
        case Given(_, result):
            # Not what whoever ran it was told a moment ago: its owner may have asked anew since.
            later = {} if row.wanted else {"not_before": now + min(outcome.after, AHEAD_S)}
            stopped(connection, row, now, result=result, **later)
        case Again(after, why, counts, detail):
            tried = row.tried + counts
            if row.wanted:
                stopped(connection, row, now)
            elif tried >= MOST_TRIED:
                answers = has_answers(connection, row.id)  # they are listed first
                state: State = "queued" if answers else "failed"
                move(
                    connection, row, state, now, result=detail, code="unavailable",
                    message=f"tried {tried} times: {why}", lost=MOST_LOST if answers else row.lost,
                )  # fmt: skip
            else:
                if not counts:
                    shares.charge(connection, row.tenant, -row.cost, row.weight)
                move(
                    connection, row, "queued", now,
                    result=detail, tried=tried, not_before=now + min(after, AHEAD_S),
                )  # fmt: skip
                events.add_once(connection, row.id, f"tried again later: {why}", now, "warn")
    return lookup.get(connection, held.job)


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
    row = lookup.row_of(connection, job)
    if row.state in ENDED or row.state == state:
        raise Conflict(f"the job `{job}` is {row.state}")
    if row.wanted == "cancel":
        pass  # it stays cancelled
    elif row.state == "running":
        _want(connection, job, wanted)
    elif wanted == "cancel" and has_answers(connection, job):
        if row.state == "paused":
            move(connection, row, "queued", now)
        _want(connection, job, wanted, not_before=now)
    else:
        move(connection, row, state, now)
    return lookup.get(connection, job)


def _want(connection: Connection, job: str, wanted: str, **values: Any) -> None:
    connection.execute(sa.update(_jobs).where(_jobs.c.id == job).values(wanted=wanted, **values))


def resume(connection: Connection, job: str, *, now: float) -> Job:
    """Let a paused job go on.

    Raises:
        NotFound: there is none of that id.
        Conflict: it is not paused.
    """
    row = lookup.row_of(connection, job)
    if row.state == "running" and row.wanted == "pause":
        _want(connection, job, "")
    elif row.state == "paused":
        shares.arrive(connection, row.tenant)
        move(connection, row, "queued", now, not_before=now)
    else:
        raise Conflict(f"the job `{job}` is {row.state}, not paused")
    return lookup.get(connection, job)
