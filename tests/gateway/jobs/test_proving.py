"""Proofs of what was trained, while engines come and go."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapterworks.gateway.jobs import proving, unproved
from adapterworks.gateway.jobs.room import open_room
from adapterworks.gateway.residency.residency import Residency
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.bases.base import Base
from adapterworks.registry.jobs import events, lookup, putting, queue, schema
from adapterworks.registry.jobs.job import (
    BUILD_LANE,
    FINE_TUNING,
    PROOF_LANE,
    Done,
    Handed,
    Job,
    NewJob,
)
from adapterworks.registry.jobs.waits import Waits, waits_of
from adapterworks.registry.releases.release import Release
from tests.gateway.jobs_support import House, house
from tests.registry import releases
from tests.waiting import until

__all__ = ["house"]


def built(house: House, base: Base, folder: Path) -> str:
    """A job whose release a worker has published and handed on."""
    (engine,) = house.running.gateway.pool.engines
    made = releases.publish(house.registry, folder, name="ft.made", base=base.identity)
    with house.registry.database.write() as connection:
        new = NewJob(FINE_TUNING, house.acme.id, BUILD_LANE, {"base": "smollm2"})
        job = putting.put(connection, new, now=time.time())
        taken = queue.claim(connection, [BUILD_LANE], holder="tester", now=time.time())
        assert taken is not None
        result = {"ref": f"ft.made@{made.version}", "digest": made.digest}
        handed = Handed(PROOF_LANE + engine.base.digest, result)
        queue.finish(connection, taken[1], handed, now=time.time())
    return job.id


def found(house: House, job: str) -> Job:
    with house.registry.database.read() as connection:
        return lookup.get(connection, job)


def test_a_proof_waits_for_an_engine_that_is_away(house: House, base: Base, tmp_path: Path) -> None:
    gateway = house.running.gateway
    (engine,) = gateway.pool.engines
    house.standin.broken = True
    until(lambda: engine.health.state != "ready")
    assert proving._lanes(gateway) == []
    job = built(house, base, tmp_path)
    house.standin.broken = False
    until(lambda: found(house, job).ended)
    ended = found(house, job)
    assert (ended.state, ended.result["proved_by"]) == ("succeeded", [engine.id])
    assert ended.attempt == 2  # the build, and one proof


def test_a_job_that_no_gateway_can_prove_is_told_of_and_ends(
    house: House, base: Base, tmp_path: Path
) -> None:
    room, (engine,) = open_room(house.running.gateway), house.running.gateway.pool.engines
    house.standin.broken = True
    until(lambda: engine.health.state != "ready")
    job, began = built(house, base, tmp_path), time.time()

    def look(after: float) -> tuple[Job, list[str]]:
        unproved.tell_waits(room, began + after)
        with house.registry.database.read() as connection:
            story = [event.message for event in events.since(connection, job, 0)]
        return found(house, job), story

    first = began + unproved._RECENT_S + 1
    waiting, told = look(first - began)
    assert waits_of(waiting.result) == Waits("engine", "an engine that serves `smollm2`", first)
    assert told == []  # a gateway may take it within a moment
    later = first - began + unproved.PATIENCE_S
    for after in (later, later + 100.0):
        waiting, told = look(after)
        assert told == [
            "built, and waits for an engine that serves `smollm2`: no gateway has one that is ready"
        ]
    assert waiting.state == "queued"
    hours = house.running.gateway.config.jobs.proof_hours
    waiting, _ = look(first - began + hours * 3600 - 1)
    assert waiting.state == "queued"
    ended, told = look(first - began + hours * 3600)
    assert (ended.state, ended.code, ended.result["ref"]) == ("failed", "not_proved", "ft.made@1")
    assert ended.message == (
        f"no engine of its base could prove it for {hours:g} hours; `ft.made@1` stays as a version "
        "without an alias, and the same job, asked for again, is not trained again"
    )
    assert told[-1] == f"the job failed: {ended.message}"
    assert waits_of(ended.result) is None


def test_a_wait_for_an_engine_is_broken_by_each_proof_of_the_lane(
    house: House, base: Base, tmp_path: Path
) -> None:
    room, (engine,) = open_room(house.running.gateway), house.running.gateway.pool.engines
    house.standin.broken = True
    until(lambda: engine.health.state != "ready")
    job, began = built(house, base, tmp_path), time.time() + 100.0
    unproved.tell_waits(room, began)
    # An engine proves another's between two looks, and is away again.
    lane, later = found(house, job).lane, began + room.table.proof_hours * 3600
    with house.registry.database.write() as connection:
        urgent = NewJob(FINE_TUNING, house.globex.id, lane, {}, priority=9)
        putting.put(connection, urgent, now=began)
        soon = began + 60.0
        query = sa.update(schema.jobs).where(schema.jobs.c.id == job).values(not_before=soon)
        connection.execute(query)  # it is not its turn
        other = queue.claim(connection, [lane], holder="g", now=began)
        assert other is not None
        queue.finish(connection, other[1], Done({}), now=later - 60.0)
        query = sa.update(schema.jobs).where(schema.jobs.c.id == job).values(not_before=began)
        connection.execute(query)
    unproved.tell_waits(room, later)
    waiting = found(house, job)
    assert waiting.state == "queued"
    waits = waits_of(waiting.result)
    assert waits is not None
    assert waits.since == later - 60.0
    unproved.tell_waits(room, later - 60.0 + room.table.proof_hours * 3600)
    assert found(house, job).code == "not_proved"


def test_a_job_whose_tenant_has_another_proved_does_not_wait_for_an_engine(
    house: House, base: Base, tmp_path: Path
) -> None:
    room, (engine,) = open_room(house.running.gateway), house.running.gateway.pool.engines
    house.standin.broken = True
    until(lambda: engine.health.state != "ready")
    job, now = built(house, base, tmp_path), time.time() + 100
    with house.registry.database.write() as connection:
        new = NewJob(FINE_TUNING, house.acme.id, f"{PROOF_LANE}other", {})
        putting.put(connection, new, now=time.time())
        other = queue.claim(connection, [f"{PROOF_LANE}other"], holder="g", now=now)
    assert other is not None
    unproved.tell_waits(room, now)
    assert waits_of(found(house, job).result) is None
    with house.registry.database.write() as connection:
        queue.finish(connection, other[1], Done({}), now=now)
    unproved.tell_waits(room, now)
    assert waits_of(found(house, job).result) is not None


def test_what_was_trained_is_not_lost_because_engines_cannot_now(
    house: House, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, away = Residency.warm, [queue.MOST_TRIED + 2]

    async def warm(self: Residency, release: Release, tenant: str | None = None) -> bool:
        away[0] -= 1
        if away[0] >= 0:
            raise Unavailable("all places are taken", retry_after=0.01)
        return await whole(self, release, tenant)

    monkeypatch.setattr(Residency, "warm", warm)
    job = built(house, base, tmp_path)
    until(lambda: found(house, job).ended)
    assert found(house, job).state == "succeeded"
    with house.registry.database.read() as connection:
        story = [event.message for event in events.since(connection, job, 0)]
    waits = [message for message in story if message.startswith("tried again later")]
    assert waits == ["tried again later: what it needs cannot be reached now"]
