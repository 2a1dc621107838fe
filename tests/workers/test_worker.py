"""A worker and its claim: what another has taken since is that one's, on disk too."""

from __future__ import annotations

import errno
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from sqlalchemy.engine import Connection

from adapterworks.app import App
from adapterworks.cli import worker as worker_command
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs import events, folders, lookup, putting, queue, schema
from adapterworks.registry.jobs.job import (
    BUILD_LANE,
    DETACHED,
    FINE_TUNING,
    OPERATOR,
    Claim,
    Done,
    Job,
    NewJob,
    Outcome,
)
from adapterworks.registry.registry import Registry
from adapterworks.settings import Settings
from adapterworks.workers import child
from adapterworks.workers.job_events import JobEvents
from adapterworks.workers.worker import Worker
from tests.waiting import until

SLEEPS = (sys.executable, "-c", "import time; time.sleep(600)")
ENDS = (sys.executable, "-c", "")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    app = App(Settings.from_environment({"ADAPTERS_HOME": str(tmp_path)}))
    app.registry.require_own_store()
    schema.migrate(app.registry.database)
    yield app
    app.close()


def test_who_has_lost_a_job_leaves_the_folder_of_who_has_it(app: App) -> None:
    database, home = app.registry.database, app.settings.home
    with database.write() as connection:
        new = NewJob(FINE_TUNING, "t", BUILD_LANE, {})
        job = putting.put(connection, new, now=time.time()).id
    rows = folders.folder_of(home, job) / "files" / "train.jsonl"
    rows.parent.mkdir(parents=True)
    rows.write_text("a row")
    worker = Worker(database, home, say=print, child=SLEEPS, lease=5.0)
    thread = threading.Thread(target=worker.run, kwargs={"once": True})
    thread.start()
    deadline = time.monotonic() + 60
    while True:
        with database.read() as connection:
            if lookup.get(connection, job).state == "running":
                break
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with database.write() as connection:  # it was cut off for long, and another has taken the job
        connection.execute(sa.update(schema.jobs).values(lease_until=0.0))
        taken = queue.claim(connection, [BUILD_LANE], holder="another", now=time.time())
    thread.join(60)
    assert not thread.is_alive()
    assert taken is not None
    assert rows.read_text() == "a row"
    with database.write() as connection:  # and the other gives it back
        connection.execute(sa.update(schema.jobs).values(lease_until=0.0))
    assert Worker(database, home, say=print, child=ENDS).run(once=True) == 1
    assert not rows.exists()


class AskedALittleLater(threading.Event):
    """Is set as soon as somebody waits for it."""

    def wait(self, timeout: float | None = None) -> bool:
        self.set()
        return True


@pytest.mark.parametrize("too", [True, False])
def test_what_is_ended_together_with_its_worker_was_not_tried(app: App, too: bool) -> None:
    """A service manager sends SIGTERM to all of a unit: the child may be dead first."""
    database = app.registry.database
    with database.write() as connection:
        new = NewJob(FINE_TUNING, OPERATOR, BUILD_LANE, {})
        job = putting.put(connection, new, now=time.time()).id
    ended = (sys.executable, "-c", "import os; os.kill(os.getpid(), 15)")
    worker = Worker(database, app.settings.home, say=print, child=ended)
    worker._stop = AskedALittleLater() if too else threading.Event()
    worker.run(once=True)
    with database.read() as connection:
        tried = connection.scalar(sa.select(schema.jobs.c.tried))
        assert lookup.get(connection, job).state == "queued"
    assert tried == (0 if too else 1)


SAVES = """
import signal, sys, time
def save(*_):
    time.sleep(0.5)
    open(sys.argv[1], "w")
    sys.exit(1)
signal.signal(signal.SIGTERM, save)
open(sys.argv[1] + ".ready", "w")
time.sleep(600)
"""


@pytest.mark.parametrize("asked", ["stop", "stop at once", "pause", "cancel"])
def test_a_job_that_is_given_back_or_paused_saves_what_it_has(
    app: App, tmp_path: Path, asked: str
) -> None:
    database, saved = app.registry.database, tmp_path / "saved"
    with database.write() as connection:
        new = NewJob(FINE_TUNING, OPERATOR, BUILD_LANE, {})
        job = putting.put(connection, new, now=time.time()).id
    child = (sys.executable, "-c", SAVES, str(saved))
    worker = Worker(database, app.settings.home, say=print, child=child, lease=5.0)
    thread = threading.Thread(target=worker.run, kwargs={"once": True})
    thread.start()
    until(lambda: (tmp_path / "saved.ready").exists())
    if asked.startswith("stop"):
        worker.stop(at_once=asked.endswith("at once"))
        worker.stop()  # a service manager's, say: it takes nothing back
    else:
        with database.write() as connection:
            connection.execute(sa.update(schema.jobs).values(wanted=asked))
    thread.join(60)
    assert not thread.is_alive()
    with database.read() as connection:
        state = lookup.get(connection, job).state
    assert state == {"pause": "paused", "cancel": "cancelled"}.get(asked, "queued")
    assert saved.exists() == (asked in ("stop", "pause"))


class Away:
    """An index that is away as often as it is told to be, once somebody says so."""

    def __init__(
        self,
        database: Database,
        is_away: Callable[[], bool],
        *,
        times: int,
        reads_only: bool = False,
    ) -> None:
        self._database, self._is_away, self.times = database, is_away, times
        self.reads_only = reads_only

    def _ask(self) -> None:
        if self.times and self._is_away():
            self.times -= 1
            raise Unavailable("the index is away")

    def read(self) -> AbstractContextManager[Connection]:
        self._ask()
        return self._database.read()

    def write(self) -> AbstractContextManager[Connection]:
        if not self.reads_only:
            self._ask()
        return self._database.write()


@pytest.mark.parametrize(("times", "reads_only"), [(1, False), (4, False), (2, True)])
def test_an_index_that_is_away_at_a_jobs_end_does_not_end_the_worker(
    app: App, tmp_path: Path, times: int, reads_only: bool
) -> None:
    """At each of the questions that are asked then: of the folder, the end, and how it stands."""
    database, ended = app.registry.database, tmp_path / "ended"
    with database.write() as connection:
        job = putting.put(connection, NewJob(DETACHED, OPERATOR, "on:1", {}), now=0.0).id
    child = (sys.executable, "-c", f"open({str(ended)!r}, 'w'); raise SystemExit(3)")
    away = Away(database, ended.exists, times=times, reads_only=reads_only)
    worker = Worker(
        cast("Database", away),
        app.settings.home,
        say=print,
        child=child,
        poll=0.01,
        lanes=("on:1",),
    )
    assert worker.run(once=True) == 1
    assert away.times == 0
    with database.read() as connection:
        found = lookup.get(connection, job)
        (said,) = [event.message for event in events.since(connection, job, 0)]
    assert found.state == "queued"
    assert said.startswith("tried again later: its process ended with 3")


@pytest.mark.parametrize("when", ["begins", "ends"])
def test_an_index_that_is_away_is_asked_again_for_what_a_job_came_to(
    app: App, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    database, ran = app.registry.database, list[str]()
    with database.write() as connection:
        putting.put(connection, NewJob(DETACHED, OPERATOR, BUILD_LANE, {}), now=0.0)
        taken = queue.claim(connection, [BUILD_LANE], holder="w", now=time.time())
    assert taken is not None

    def run(_: App, job: Job, __: Claim) -> Outcome:
        ran.append(job.id)
        return Done({"ref": "tiny@1"})

    monkeypatch.setitem(child.KINDS, DETACHED, run)
    monkeypatch.setattr(child, "_INDEX_S", 0.0)
    away = Away(database, lambda: when == "begins" or bool(ran), times=3)
    there = SimpleNamespace(registry=SimpleNamespace(database=away), settings=app.settings)
    assert child._run(cast("App", there), taken[1]) == 0
    with database.read() as connection:
        found = lookup.get(connection, taken[0].id)
    assert (found.state, found.result, ran, away.times) == (
        "succeeded", {"ref": "tiny@1"}, [found.id], 0,
    )  # fmt: skip


def test_a_worker_that_cannot_write_gives_its_job_back_and_ends(app: App) -> None:
    """A service manager that begins it again and again would have all of the queue fail as lost."""
    database, home = app.registry.database, app.settings.home
    (home / "jobs").write_text("no folder")
    with database.write() as connection:
        job = putting.put(connection, NewJob(DETACHED, OPERATOR, BUILD_LANE, {}), now=0.0)
    for _ in range(queue.MOST_LOST + 1):
        with pytest.raises(OSError, match="jobs"):
            Worker(database, home, say=print, child=ENDS).run(once=True)
    with database.read() as connection:
        found = lookup.get(connection, job.id)
    assert (found.state, found.lost, found.attempt) == ("queued", 0, queue.MOST_LOST + 1)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/w/step-8"), "`/w/step-8`: no space"),
        (MemoryError(), "out of memory"),
    ],
)
def test_a_job_for_which_a_disk_or_memory_is_full_is_tried_again(
    app: App, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    """Somebody makes room, or another machine has some: hours of training are not given up."""
    with app.registry.database.write() as connection:
        putting.put(connection, NewJob(DETACHED, OPERATOR, BUILD_LANE, {}), now=0.0)
        taken = queue.claim(connection, [BUILD_LANE], holder="w", now=time.time())
    assert taken is not None

    def run(*_: object) -> Outcome:
        raise error

    monkeypatch.setitem(child.KINDS, DETACHED, run)
    assert child._run(app, taken[1]) == 0
    with app.registry.database.read() as connection:
        found = lookup.get(connection, taken[0].id)
        (told,) = events.since(connection, found.id, 0)
    assert found.state == "queued"
    assert said in told.message


def test_a_worker_of_a_lane_waits_for_an_index_that_is_away_when_it_begins(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would begin it again."""
    answers = [Unavailable("the index is away"), Unavailable("the index is away"), None]

    def migrate(_: Database) -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    monkeypatch.setattr(schema, "migrate", migrate)
    monkeypatch.setattr(worker_command, "_AGAIN_S", 0.0)
    done = CliRunner().invoke(worker_command.command, ["--lane", "on:1"], obj=app)
    assert (done.exit_code, answers) == (0, [])
    answers[:] = [Unavailable("the index is away")]
    refused = CliRunner().invoke(worker_command.command, ["--once"], obj=app)
    assert isinstance(refused.exception, Unavailable)


def test_a_worker_of_a_lane_waits_for_an_index_that_cannot_be_opened_yet(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, opens = [Unavailable("the index is away")], Registry.open

    def opened(**given: Any) -> Registry:
        if answers:
            raise answers.pop()
        return opens(**given)

    monkeypatch.setattr(Registry, "open", opened)
    monkeypatch.setattr(worker_command, "_AGAIN_S", 0.0)
    app = App()
    done = CliRunner().invoke(worker_command.command, ["--lane", "on:1"], obj=app)
    assert (done.exit_code, answers) == (0, [])
    app.close()


def test_losses_before_a_checkpoint_do_not_count(app: App) -> None:
    database = app.registry.database
    with database.write() as connection:
        job = putting.put(connection, NewJob(FINE_TUNING, "t", BUILD_LANE, {}), now=0.0).id
    now = 0.0
    for step in range(2 * queue.MOST_LOST):
        with database.write() as connection:
            taken = queue.claim(connection, [BUILD_LANE], holder="w", now=now)
        assert taken is not None
        with JobEvents(database, taken[1], "t") as job_events:
            job_events({"event": "checkpoint", "step": step})
        now += queue.LEASE_S + 1
    with database.read() as connection:
        assert lookup.get(connection, job).lost == 0
    for _ in range(queue.MOST_LOST - 1):  # one that was there before is none
        now += queue.LEASE_S + 1
        with database.write() as connection:
            taken = queue.claim(connection, [BUILD_LANE], holder="w", now=now)
        assert taken is not None
        with JobEvents(database, taken[1], "t") as job_events:
            job_events({"event": "checkpoint", "step": 0})
    now += queue.LEASE_S + 1
    with database.write() as connection:
        assert queue.claim(connection, [BUILD_LANE], holder="w", now=now) is None
    with database.read() as connection:
        assert lookup.get(connection, job).code == "lost"


@pytest.mark.parametrize("owner", ["acme", OPERATOR])
def test_of_a_lost_tracker_a_tenant_is_told_its_name_alone(
    app: App, owner: str, capsys: pytest.CaptureFixture[str]
) -> None:
    database = app.registry.database
    with database.write() as connection:
        job = putting.put(connection, NewJob(FINE_TUNING, owner, BUILD_LANE, {}), now=0.0).id
        taken = queue.claim(connection, [BUILD_LANE], holder="w", now=0.0)
    assert taken is not None
    why = "HTTPConnectionPool(host='mlflow.corp', port=5000): refused"
    with JobEvents(database, taken[1], owner) as job_events:
        job_events({"event": "tracker_lost", "step": 7, "tracker": "mlflow", "message": why})
    with database.read() as connection:
        (told,) = [event.message for event in events.since(connection, job, 0)]
    said = "the tracker `mlflow` is told no more from step 7 on"
    assert told == (f"{said}: {why}" if owner == OPERATOR else said)
    assert (why in capsys.readouterr().err) is (owner != OPERATOR)
