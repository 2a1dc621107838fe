"""A job that finds no memory: when it looks again, what is told of it, and when it ends."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.builders.plan.occupied import Occupied, Wait
from adapterworks.cli.jobs import command as jobs
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.jobs import events, lookup, putting, queue, schema
from adapterworks.registry.jobs.job import BUILD_LANE, FINE_TUNING, Again, Claim, Job, NewJob, Stop
from adapterworks.registry.jobs.standing import standing, standing_in
from adapterworks.registry.jobs.waits import Waits, waits_of
from adapterworks.settings import Settings
from adapterworks.workers.waiting import waiter, waits

DAY = 86400.0
NEEDS = "training needs 3.00 GiB at a micro batch of 1"


@pytest.fixture
def app(tmp_path: Path) -> App:
    app = App(Settings.from_environment({"ADAPTERS_HOME": str(tmp_path)}))
    app.registry.require_own_store()
    schema.migrate(app.registry.database)
    return app


def occupied(wait: Wait | None = None) -> Occupied:
    error = Occupied.of(NEEDS, size=3 << 30, free=1 << 30, total=4 << 30)
    error.wait = wait
    return error


def taken(app: App, now: float) -> tuple[Job, Claim]:
    with app.registry.database.write() as connection:
        found = queue.claim(connection, [BUILD_LANE], holder="w", now=now)
    assert found is not None
    return found


def put(app: App) -> Job:
    with app.registry.database.write() as connection:
        return putting.put(connection, NewJob(FINE_TUNING, "t", BUILD_LANE, {}), now=0.0)


def finish(app: App, held: Claim, outcome: Any, now: float) -> Job:
    with app.registry.database.write() as connection:
        return queue.finish(connection, held, outcome, now=now)


def show(app: App, job: Job, *more: str) -> str:
    result = CliRunner().invoke(jobs, ["show", job.id, *more], obj=app)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_wait_is_counted_from_its_first_look_and_shown(app: App) -> None:
    job, now = put(app), 1000.0
    for attempt, after in enumerate((15.0, 30.0, 60.0, 120.0, 240.0, 300.0, 300.0), 1):
        found, held = taken(app, now)
        outcome = waits(occupied(Wait(1000.0, attempt, False)), found, held, most=DAY, now=now)
        assert isinstance(outcome, Again)
        assert (outcome.after, outcome.counts) == (after, False)
        waiting = finish(app, held, outcome, now)
        assert waits_of(waiting.result) == Waits("memory", NEEDS, 1000.0, attempt, False)
        assert waiter(waiting).since == 1000.0
        now += after
    # One that is first looks often.
    found, held = taken(app, now)
    outcome = waits(occupied(Wait(1000.0, 9, True)), found, held, most=DAY, now=now)
    assert isinstance(outcome, Again)
    assert outcome.after == 30.0
    finish(app, held, outcome, now)
    said = f"waits: for memory since 1970-01-01T00:16:40Z: {NEEDS}; 9 that came later have begun"
    assert f"{said}; what comes later waits for it\n" in show(app, job)
    shown = json.loads(show(app, job, "--json"))
    assert shown["waits"]["since"] == "1970-01-01T00:16:40Z"
    assert "waits" not in shown["result"]
    with app.registry.database.read() as connection:
        told = [event.message for event in events.since(connection, job.id, 0)]
    public = f"{NEEDS}, and others hold too much of this machine's 4.00 GiB"
    assert told == [f"tried again later: {public}"]  # a wait is told once


def test_a_wait_has_an_end(app: App) -> None:
    put(app)
    found, held = taken(app, 1000.0)
    finish(app, held, waits(occupied(), found, held, most=DAY, now=1000.0), 1000.0)
    found, held = taken(app, 1000.0 + DAY)
    still = waits(occupied(), found, held, most=DAY + 1, now=1000.0 + DAY)
    assert isinstance(still, Again)
    for most in (None, 2 * DAY):
        assert isinstance(waits(occupied(), found, held, most=most, now=1000.0 + DAY), Again)
    ended = waits(occupied(), found, held, most=DAY, now=1000.0 + DAY)
    assert isinstance(ended, Stop)
    job = finish(app, held, ended, 1000.0 + DAY)
    assert (job.state, job.code) == ("failed", "no_memory")
    assert job.message == (
        f"{NEEDS}, and others hold too much of this machine's 4.00 GiB; "
        "that was waited for for 24 h 00 min"
    )
    assert "now 1.00 GiB are free" in job.result["why"]
    assert waits_of(job.result) is None


def test_a_pause_is_no_part_of_a_wait(app: App) -> None:
    job = put(app)
    found, held = taken(app, 1000.0)
    finish(app, held, waits(occupied(), found, held, most=DAY, now=1000.0), 1000.0)
    with app.registry.database.write() as connection:
        assert waits_of(queue.pause(connection, job.id, now=1001.0).result) is None
        queue.resume(connection, job.id, now=1000.0 + 2 * DAY)
    found, held = taken(app, 1000.0 + 2 * DAY)
    again = waits(occupied(), found, held, most=DAY, now=1000.0 + 2 * DAY)
    assert isinstance(again, Again)
    assert again.detail["waits"]["since"] == 1000.0 + 2 * DAY


def test_another_reason_is_another_wait(app: App) -> None:
    job = put(app)
    _, held = taken(app, 1000.0)
    finish(app, held, Again(1.0, "why", detail=Waits("engine", "one", 5.0).noted()), 1000.0)
    with app.registry.database.read() as connection:
        waiting = lookup.get(connection, job.id)
    assert waiter(waiting).since == pytest.approx(time.time(), abs=60)


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 7 * DAY), ("30m", 1800.0), ("12h", DAY / 2), ("none", None)]
)
def test_how_long_is_waited_is_a_setting(text: str, seconds: float | None) -> None:
    assert Settings.from_environment({"ADAPTERS_MEMORY_WAIT": text}).memory_wait == seconds


@pytest.mark.parametrize("text", ["-1h", "h", "12", "1.5h", "∞"])
def test_a_span_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is no time span"):
        Settings.from_environment({"ADAPTERS_MEMORY_WAIT": text})


def test_the_queue_knows_which_jobs_still_wait_for_memory(app: App) -> None:
    jobs = [put(app) for _ in range(4)]
    for number in range(3):
        found, held = taken(app, 1000.0)
        assert standing(app.registry.database, [found.id]) == {}  # it looks just now
        again = waits(occupied(), found, held, most=DAY, now=1000.0)
        finish(app, held, again, 1000.0 + number)
    waiting = standing_in(app.registry)
    assert waiting is not None
    ids = [job.id for job in jobs]
    known = waiting([*ids, "another's"])
    assert list(known.values()) == [True] * 3  # and one has not looked yet
    one, two, three = known
    with app.registry.database.write() as connection:
        queue.cancel(connection, one, now=1010.0)
        queue.pause(connection, two, now=1010.0)
    assert waiting([*ids, "another's"]) == {one: False, two: False, three: True}
