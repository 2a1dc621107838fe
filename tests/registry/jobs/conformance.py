"""What a queue is, on any database: `exercise` is the definition; both databases pass it.

Clocks are moved by the caller: `now` is a number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from adapterworks.manifests.errors import Conflict, InvalidInput, NotFound
from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs import events, lookup, putting, queue, schema
from adapterworks.registry.jobs.ahead import AHEAD_S
from adapterworks.registry.jobs.job import (
    BUILD_LANE,
    FINE_TUNING,
    Again,
    Claim,
    Done,
    Given,
    Handed,
    Job,
    NewJob,
    Stop,
)
from adapterworks.registry.jobs.queue import LEASE_S, MOST_LOST, MOST_TRIED, Lost

LANES = (BUILD_LANE,)
HOUR = 3600.0


def put(database: Database, tenant: str = "a", *, now: float = 0.0, **more: Any) -> Job:
    most = more.pop("most_queued", None)
    values = {"kind": FINE_TUNING, "lane": BUILD_LANE, "arguments": {}, **more}
    with database.write() as connection:
        return putting.put(connection, NewJob(tenant=tenant, **values), now=now, most_queued=most)


def claim(
    database: Database, holder: str = "w", *, now: float = 0.0, lanes: tuple[str, ...] = LANES
) -> tuple[Job, Claim]:
    with database.write() as connection:
        taken = queue.claim(connection, lanes, holder=holder, now=now)
    assert taken is not None
    return taken


def nothing(database: Database, *, now: float = 0.0) -> bool:
    with database.write() as connection:
        return queue.claim(connection, LANES, holder="w", now=now) is None


def finish(database: Database, held: Claim, outcome: Any, *, now: float = 0.0) -> Job:
    with database.write() as connection:
        return queue.finish(connection, held, outcome, now=now)


def ask(database: Database, what: Callable[..., Job], job: Job, now: float = 0.0) -> Job:
    with database.write() as connection:
        return what(connection, job.id, now=now)


def a_job_is_run_once(database: Database) -> None:
    job = put(database, arguments={"x": 1}, labels={"k": "v"})
    assert (job.state, job.attempt) == ("queued", 0)
    assert (job.arguments, job.labels) == ({"x": 1}, {"k": "v"})
    taken, held = claim(database, now=5.0)
    assert (taken.id, taken.state, taken.attempt, taken.started) == (job.id, "running", 1, 5.0)
    assert nothing(database)
    done = finish(database, held, Done({"ref": "n@1"}), now=9.0)
    assert (done.state, done.result, done.finished) == ("succeeded", {"ref": "n@1"}, 9.0)
    assert nothing(database)


def what_has_ended_does_not_change(database: Database) -> None:
    job = put(database)
    _, held = claim(database)
    finish(database, held, Stop("bad", "why", "training_file"))
    for act in (queue.cancel, queue.pause, queue.resume):
        with pytest.raises(Conflict):
            ask(database, act, job)
    with pytest.raises(Lost):
        finish(database, held, Done({}))
    for statement in (
        sa.update(schema.jobs).where(schema.jobs.c.id == job.id).values(state="queued"),
        sa.update(schema.jobs)
        .where(schema.jobs.c.id == job.id)
        .values(arguments='{"more": 12345}'),
        sa.update(schema.jobs).where(schema.jobs.c.id == job.id).values(arguments="", labels=""),
        sa.delete(schema.jobs).where(schema.jobs.c.id == job.id),
    ):
        with pytest.raises(DatabaseError), database.write() as connection:
            connection.execute(statement)
    with database.write() as connection:  # what an erasure does
        connection.execute(
            sa.update(schema.jobs).where(schema.jobs.c.id == job.id).values(arguments="")
        )


def a_lost_job_is_run_again_and_its_first_worker_can_change_nothing(database: Database) -> None:
    put(database)
    _, first = claim(database, "one")
    with database.write() as connection:
        assert queue.renew(connection, first, now=20.0) == ""
    assert nothing(database, now=20.0 + LEASE_S)
    _, second = claim(database, "two", now=20.0 + LEASE_S + 1)
    assert second.attempt == 2
    for write in (
        lambda c: queue.renew(c, first, now=60.0),
        lambda c: queue.require(c, first),
        lambda c: queue.note(c, first, {"x": 1}),
        lambda c: queue.finish(c, first, Done({}), now=60.0),
        # Right attempt, wrong holder, and the other way round.
        lambda c: queue.renew(c, Claim(first.job, second.attempt, first.holder), now=60.0),
        lambda c: queue.renew(c, Claim(first.job, first.attempt, second.holder), now=60.0),
    ):
        with pytest.raises(Lost), database.write() as connection:
            write(connection)
    assert finish(database, second, Done({})).state == "succeeded"


def a_job_that_kills_its_workers_ends(database: Database) -> None:
    job = put(database)
    now = 0.0
    for _ in range(MOST_LOST):
        claim(database, now=now)
        now += LEASE_S + 1
    assert nothing(database, now=now)
    with database.read() as connection:
        found = lookup.get(connection, job.id)
    assert (found.state, found.code) == ("failed", "lost")


def what_cannot_be_done_now_is_tried_again_later(database: Database) -> None:
    put(database)
    now = 0.0
    for number in range(1, MOST_TRIED + 1):
        _, held = claim(database, now=now)
        job = finish(database, held, Again(10.0, "the engine starts"), now=now)
        assert job.state == ("queued" if number < MOST_TRIED else "failed")
        if number < MOST_TRIED:
            assert nothing(database, now=now + 9.0)
        now += 10.0
    assert job.code == "unavailable"
    put(database)
    for _ in range(MOST_TRIED + 1):
        _, held = claim(database, now=now)
        again = finish(database, held, Again(0.0, "somebody builds it", counts=False), now=now)
        assert again.state == "queued"
    _, held = claim(database, now=now)
    finish(database, held, Done({}))


def only_a_turn_that_could_not_be_used_is_given_back(database: Database) -> None:
    for tenant in ("a", "b"):
        put(database, tenant, cost=3.0, weight=2.0)
    for _ in range(3):
        first, held = claim(database)
        assert first.tenant == "a"
        finish(database, held, Again(0.0, "there is no memory", counts=False))
    _, held = claim(database)
    finish(database, held, Again(0.0, "the engine starts"))
    assert claim(database)[0].tenant == "b"


def it_is_handed_from_lane_to_lane(database: Database) -> None:
    put(database)
    _, held = claim(database)
    handed = finish(database, held, Handed("proof:x", {"ref": "n@1"}))
    assert (handed.state, handed.lane) == ("queued", "proof:x")
    assert nothing(database)
    job, held = claim(database, lanes=("batch", "proof:x"))
    assert job.result == {"ref": "n@1"}
    assert finish(database, held, Done({"proved": True})).result == {"ref": "n@1", "proved": True}


def pause_and_cancel_reach_whoever_runs_it(database: Database) -> None:
    waiting = put(database)
    assert ask(database, queue.pause, waiting).state == "paused"
    assert nothing(database)
    assert ask(database, queue.resume, waiting).state == "queued"
    _, held = claim(database)
    assert ask(database, queue.pause, waiting).wanted == "pause"
    with database.write() as connection:
        assert queue.renew(connection, held, now=1.0) == "pause"
    assert finish(database, held, Given("paused", {"step": 3})).state == "paused"
    assert ask(database, queue.resume, waiting).result == {"step": 3}
    _, held = claim(database)
    ask(database, queue.pause, waiting)
    assert ask(database, queue.resume, waiting).wanted == ""  # before the worker noticed
    ask(database, queue.cancel, waiting)
    assert ask(database, queue.pause, waiting).wanted == "cancel"  # it stays cancelled
    # What it comes to before it notices is not what the next lane begins with.
    assert finish(database, held, Handed("proof:x", {})).state == "cancelled"
    lost = put(database)
    claim(database)
    ask(database, queue.cancel, lost)
    assert nothing(database, now=LEASE_S + 1)
    with database.read() as connection:
        assert lookup.get(connection, lost.id).state == "cancelled"


def a_clock_that_is_set_back_keeps_nobody_waiting(database: Database) -> None:
    """Who was queued, and whose worker died, just before."""
    lost = put(database, "a", now=HOUR)
    _, held = claim(database, now=HOUR)
    alive = put(database, "a", now=HOUR)
    _, renews = claim(database, now=HOUR)
    waits = put(database, "b", now=HOUR)
    with database.read() as connection:
        assert queue.is_something_to_do(connection, LANES, now=1.0)
    taken, other = claim(database, now=1.0)
    assert taken.id == waits.id
    finish(database, other, Done({}), now=1.0)
    with database.write() as connection:  # nobody lost it for that
        queue.renew(connection, renews, now=2.0, seconds=10 * LEASE_S)
    assert nothing(database, now=LEASE_S)
    again, last = claim(database, now=LEASE_S + 2.0)
    assert (again.id, again.lost) == (lost.id, 1)
    finish(database, last, Done({}), now=LEASE_S + 2.0)
    with pytest.raises(Lost):
        finish(database, held, Done({}))
    assert finish(database, renews, Done({}), now=LEASE_S + 2.0).id == alive.id

    later = put(database, "c", now=50.0)
    _, held = claim(database, now=50.0)
    finish(database, held, Again(7200.0, "busy"), now=50.0)
    assert nothing(database, now=50.0)  # what waits for long is not taken for that
    assert claim(database, now=50.0 + AHEAD_S)[0].id == later.id


def what_its_owner_asked_for_last_is_done(database: Database) -> None:
    """Whoever runs a job was told to pause it, and while it stopped its owner asked anew."""
    job = put(database)
    for asks, state in (((queue.resume,), "queued"), ((queue.cancel,), "cancelled")):
        _, held = claim(database)
        ask(database, queue.pause, job)
        with database.write() as connection:
            assert queue.renew(connection, held, now=1.0) == "pause"
        for what in asks:
            ask(database, what, job)
        assert finish(database, held, Given("paused", {"step": 3})).state == state


def answer(database: Database, job: Job, line: int) -> None:
    tokens = dict.fromkeys(("prompt", "cached", "completion", "reasoning"), 1)
    values = {f"{name}_tokens": count for name, count in tokens.items()}
    insert = sa.insert(schema.lines)
    with database.write() as connection:
        connection.execute(
            insert.values(job=job.id, line=line, failed=False, output="{}", **values)
        )


def outputs(database: Database, job: Job) -> list[str]:
    query = sa.select(schema.lines.c.output).where(schema.lines.c.job == job.id)
    with database.read() as connection:
        return list(connection.scalars(query))


def what_was_answered_is_listed_before_it_ends(database: Database) -> None:
    """A job with answers that no file has yet is given out once more, whatever ends it."""
    lost = put(database)
    now = 0.0
    for number in range(MOST_LOST - 1):
        taken, held = claim(database, now=now)
        assert taken.lost == number
        now += LEASE_S + 1
    answer(database, lost, 1)
    _, held = claim(database, now=now)
    with database.write() as connection:  # a line is answered: losses before it do not count
        queue.came_on(connection, held)
    for number in range(MOST_LOST - 1):
        now += LEASE_S + 1
        assert claim(database, now=now)[0].lost == number + 1
    now += LEASE_S + 1
    job, held = claim(database, now=now)
    assert (job.id, job.lost) == (lost.id, MOST_LOST)
    assert outputs(database, lost) == ["{}"]
    ended = finish(database, held, Stop("lost", "five times"))
    assert (ended.state, outputs(database, lost)) == ("failed", [""])

    gone = put(database)
    _, held = claim(database, now=now)
    answer(database, gone, 1)
    for _ in range(MOST_LOST):
        now += LEASE_S + 1
        claim(database, now=now)
    now += LEASE_S + 1
    assert nothing(database, now=now)  # it kills whoever lists its answers, too
    assert outputs(database, gone) == [""]

    waits = put(database)
    _, held = claim(database)
    answer(database, waits, 1)
    assert finish(database, held, Given("queued")).state == "queued"
    asked = ask(database, queue.cancel, waits)
    assert (asked.state, asked.wanted) == ("queued", "cancel")
    assert ask(database, queue.pause, waits).wanted == "cancel"
    job, held = claim(database)
    assert (job.id, job.wanted) == (waits.id, "cancel")
    assert nothing(database, now=LEASE_S / 2)
    job, held = claim(database, now=LEASE_S + 1)  # its holder died: once more
    assert (job.id, job.wanted) == (waits.id, "cancel")
    assert finish(database, held, Given("cancelled")).state == "cancelled"

    stopped = put(database)
    _, held = claim(database)
    answer(database, stopped, 1)
    ask(database, queue.pause, stopped)
    assert finish(database, held, Given("paused")).state == "paused"
    assert ask(database, queue.cancel, stopped).state == "queued"
    assert claim(database)[0].wanted == "cancel"


def what_was_answered_is_listed_whoever_gives_it_back(database: Database) -> None:
    """Its owner cancels while it is given back; or it was tried as often as it may be."""
    for outcome in (
        Given("queued"),
        Again(9.0, "the index is away"),
        Again(9.0, "x", counts=False),
    ):
        given = put(database)
        _, held = claim(database)
        answer(database, given, 1)
        ask(database, queue.cancel, given)
        back = finish(database, held, outcome)
        assert (back.state, back.wanted) == ("queued", "cancel")
        _, held = claim(database)  # at once
        assert outputs(database, given) == ["{}"]
        assert finish(database, held, Given("cancelled")).state == "cancelled"

    vain = put(database)
    for _ in range(MOST_TRIED):
        _, held = claim(database)
        if not outputs(database, vain):
            answer(database, vain, 1)
        back = finish(database, held, Again(0.0, "the index is away"))
    assert (back.state, back.lost, back.code) == ("queued", MOST_LOST, "unavailable")
    assert outputs(database, vain) == ["{}"]
    _, held = claim(database)
    ended = finish(database, held, Stop(back.code, back.message))
    assert (ended.state, ended.message) == ("failed", "tried 5 times: the index is away")


def a_wait_is_told_once(database: Database) -> None:
    job = put(database)
    for why in ("the engine starts", "the engine starts", "another builds it"):
        _, held = claim(database)
        with database.write() as connection:
            events.add(connection, job.id, "begun", 0.0)
        finish(database, held, Again(0.0, why, counts=False))
    with database.read() as connection:
        told = [event for event in events.since(connection, job.id, 0) if event.level == "warn"]
        assert len(events.since(connection, job.id, 0, limit=2)) == 2
    assert [event.message for event in told] == [
        "tried again later: the engine starts",
        "tried again later: another builds it",
    ]


def trainings_do_not_keep_proofs_and_batches_waiting(database: Database) -> None:
    for number, lane in enumerate((BUILD_LANE, BUILD_LANE, "batch", "proof:x", "proof:y")):
        put(database, lane=lane, most_running=1, priority=9 - number)
    every = (BUILD_LANE, "batch", "proof:x", "proof:y")
    assert [claim(database, lanes=every)[0].lane for _ in range(3)] == [
        BUILD_LANE,
        "batch",
        "proof:x",
    ]
    with database.write() as connection:  # one of each kind, and proofs are one kind
        assert queue.claim(connection, every, holder="w", now=0.0) is None


def priorities_order_a_tenants_own_jobs(database: Database) -> None:
    low, high, late = put(database), put(database, priority=5), put(database, priority=5)
    assert [claim(database)[0].id for _ in range(3)] == [high.id, late.id, low.id]


def tenants_share_by_weight(database: Database) -> None:
    for _ in range(12):
        put(database, "a", priority=9)
    for _ in range(12):
        put(database, "b")
        put(database, "c", weight=2.0)
    order = [claim(database)[0].tenant for _ in range(16)]
    assert [order.count(tenant) for tenant in "abc"] == [4, 4, 8]
    assert order[:4].count("a") == 1


def _turns(database: Database, tenant: str, count: int = 8) -> int:
    """How many of the next turns a tenant gets."""
    return [claim(database)[0].tenant for _ in range(count)].count(tenant)


def idling_earns_no_credit(database: Database) -> None:
    for _ in range(20):
        put(database, "a")
    for _ in range(10):
        claim(database)
    for _ in range(10):
        put(database, "late")
    assert _turns(database, "late") == 4


def a_tenant_that_comes_back_begins_level_too(database: Database) -> None:
    put(database, "back")
    finish(database, claim(database)[1], Done({}))
    for _ in range(20):
        put(database, "a")
    for _ in range(10):
        claim(database)
    for _ in range(10):
        put(database, "back")
    assert _turns(database, "back") == 4


def a_paused_job_earns_no_credit(database: Database) -> None:
    left, other = put(database, "back"), put(database, "other")
    for job in (left, other):
        ask(database, queue.pause, job)
    for _ in range(20):
        put(database, "a")
    for _ in range(10):
        claim(database)
    for _ in range(10):  # beside the paused one
        put(database, "back")
    assert _turns(database, "back") == 4
    ask(database, queue.resume, other)
    for _ in range(3):
        put(database, "other")
    # Level with the least, it is one of three; with what it saved up it would have all four.
    assert _turns(database, "other", 6) == 2


def a_tenant_runs_as_many_as_it_may(database: Database) -> None:
    for _ in range(4):
        put(database, "a", most_running=2)
    _, held = claim(database)
    claim(database)
    assert nothing(database)
    other = put(database, "b")
    assert claim(database)[0].id == other.id
    finish(database, held, Done({}))
    assert claim(database)[0].tenant == "a"


def a_tenant_queues_as_many_as_it_may(database: Database) -> None:
    put(database, most_queued=2)
    put(database, most_queued=2)
    with pytest.raises(Conflict, match="2 jobs of yours"):
        put(database, most_queued=2)
    put(database, "b", most_queued=2)
    _, held = claim(database)
    finish(database, held, Done({}))
    assert put(database, most_queued=2).state == "queued"


def a_tenant_sees_its_own(database: Database) -> None:
    mine, other = put(database, "a"), put(database, "b")
    with database.read() as connection:
        assert lookup.of_tenant(connection, mine.id, "a", FINE_TUNING).id == mine.id
        texts = set()
        for job, tenant, kind in (
            (mine.id, "b", FINE_TUNING),
            (mine.id, "a", "batch"),
            ("ftjob-none", "a", FINE_TUNING),
        ):
            with pytest.raises(NotFound) as caught:
                lookup.of_tenant(connection, job, tenant, kind)
            texts.add(caught.value.message.replace(job, "JOB"))
        assert texts == {"there is no job `JOB`"}
        found, more = lookup.listed(connection, tenant="a")
        assert ([job.id for job in found], more) == ([mine.id], False)
        with pytest.raises(InvalidInput):
            lookup.listed(connection, tenant="a", after=other.id)


def lists_have_pages_and_labels(database: Database) -> None:
    jobs = [put(database, labels={"n": str(number % 2)} if number else {}) for number in range(5)]
    with database.read() as connection:
        first, more = lookup.listed(connection, limit=2)
        assert ([job.id for job in first], more) == ([jobs[4].id, jobs[3].id], True)
        rest, more = lookup.listed(connection, limit=3, after=first[-1].id)
        assert ([job.id for job in rest], more) == ([j.id for j in jobs[2::-1]], False)
        odd, _ = lookup.listed(connection, labels={"n": "1"})
        assert [job.id for job in odd] == [jobs[3].id, jobs[1].id]
        assert [job.id for job in lookup.listed(connection, labels={})[0]] == [jobs[0].id]
        assert lookup.listed(connection, states=("running",)) == ([], False)


def events_are_kept_in_order_and_for_ever(database: Database) -> None:
    job = put(database)
    with database.write() as connection:
        for number in range(4):
            events.add(connection, job.id, f"m{number}", float(number), data={"n": number})
        for step in (5, 10, 5):
            events.add_checkpoint(connection, job.id, step, {"train_loss": 1.5}, 1.0)
    with database.read() as connection:
        page, more = events.newest(connection, job.id, limit=3)
        assert ([event.message for event in page], more) == (["m3", "m2", "m1"], True)
        last, more = events.newest(connection, job.id, after=page[-1].id)
        assert ([event.message for event in last], more) == (["m0"], False)
        later = events.since(connection, job.id, page[-1].sequence)
        assert [event.data["n"] for event in later] == [2, 3]
        kept, _ = events.checkpoints(connection, job.id)
        assert [(point.step, point.metrics) for point in kept] == [
            (10, {"train_loss": 1.5}),
            (5, {"train_loss": 1.5}),
        ]
    for statement in (sa.update(schema.events).values(message="x"), sa.delete(schema.events)):
        with pytest.raises(DatabaseError), database.write() as connection:
            connection.execute(statement)


EXERCISES = (
    a_job_is_run_once,
    what_has_ended_does_not_change,
    a_lost_job_is_run_again_and_its_first_worker_can_change_nothing,
    a_job_that_kills_its_workers_ends,
    what_cannot_be_done_now_is_tried_again_later,
    only_a_turn_that_could_not_be_used_is_given_back,
    it_is_handed_from_lane_to_lane,
    pause_and_cancel_reach_whoever_runs_it,
    a_clock_that_is_set_back_keeps_nobody_waiting,
    what_its_owner_asked_for_last_is_done,
    what_was_answered_is_listed_before_it_ends,
    what_was_answered_is_listed_whoever_gives_it_back,
    a_wait_is_told_once,
    trainings_do_not_keep_proofs_and_batches_waiting,
    priorities_order_a_tenants_own_jobs,
    tenants_share_by_weight,
    idling_earns_no_credit,
    a_tenant_that_comes_back_begins_level_too,
    a_paused_job_earns_no_credit,
    a_tenant_runs_as_many_as_it_may,
    a_tenant_queues_as_many_as_it_may,
    a_tenant_sees_its_own,
    lists_have_pages_and_labels,
    events_are_kept_in_order_and_for_ever,
)
