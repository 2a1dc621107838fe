"""Who follows a build elsewhere bears with a place that does not answer, and sees a lost worker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.cli.build_on import build_on
from adapterworks.cli.jobs import command as jobs
from adapterworks.manifests.errors import Conflict, NotFound, Unavailable
from adapterworks.registry.jobs import lookup, putting, queue, schema
from adapterworks.registry.jobs.job import Given, Job
from adapterworks.settings import Settings
from adapterworks.workers import placed, remote
from adapterworks.workers.executors import open as opening
from adapterworks.workers.executors.executor import NoPlace, Resources, State, Task
from adapterworks.workers.executors.local import LocalExecutor
from adapterworks.workers.executors.where import Where
from adapterworks.workers.placed import WorkerGone, task_of, worker_status
from adapterworks.workers.remote import NEEDS, Submitted, begin, begin_again, follow, queued


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.setattr(remote, "_LOOK_S", 0.0)
    monkeypatch.setattr(remote, "_PLACE_LOOK_S", 0.0)
    app = App(Settings.from_environment({"ADAPTERS_HOME": str(tmp_path)}))
    schema.migrate(app.registry.database)
    yield app
    app.close()


class Place:
    """A place that says these states, one at each question; None: it does not answer.

    It has forgotten the task, or says what the task waits for.

    At the last one the job is ended, as its worker does.
    """

    shares_files = True

    def __init__(self, app: App, *says: State | Literal["forgotten"] | None) -> None:
        self._app, self.says = app, list(says)
        self.waits: list[str] = []
        self.begun: list[Task] = []

    def status(self, id: str) -> State:
        said = self.says.pop(0)
        if not self.says:
            with self._app.registry.database.write() as connection:
                taken = queue.claim(connection, ["on:1"], holder="worker", now=time.time())
                if taken is not None:
                    queue.cancel(connection, taken[0].id, now=time.time())
                    queue.finish(connection, taken[1], Given("cancelled"), now=time.time())
        if said is None:
            raise Unavailable("the place does not answer")
        if said == "forgotten":
            raise NotFound("no such task")
        return said

    def why(self, id: str) -> str:
        return self.waits.pop(0) if self.waits else ""

    def log(self, id: str) -> str:
        raise Unavailable("the place does not answer")

    def submit(self, task: Task) -> str:
        self.begun.append(task)
        return f"place-{task.name}"

    def cancel(self, id: str) -> None:
        raise NotImplementedError


def _begin(app: App) -> Submitted:
    job = queued(app.registry.database, "on:1", {}, {})
    with app.registry.database.write() as connection:
        putting.place(connection, job.id, "task")
    return Submitted(job, "task")


def test_a_place_that_does_not_answer_is_asked_again(app: App) -> None:
    said: list[str] = []
    place = Place(app, "running", None, None, "running", None, "running")
    job = follow(app, place, _begin(app), said.append)
    assert job.ended
    assert place.says == []
    assert [line for line in said if "does not answer" in line] == [
        "the place does not answer; it is asked again"
    ] * 2


def test_a_worker_that_is_gone_ends_its_job(app: App) -> None:
    begun = _begin(app)
    place = Place(app, "waiting", "failed", "running")
    with pytest.raises(WorkerGone, match="worker `task` failed before its job was done") as gone:
        follow(app, place, begun, lambda line: None)
    assert "the place does not answer" in gone.value.message  # its log cannot be had
    with app.registry.database.read() as connection:
        assert lookup.get(connection, begun.job.id).state == "cancelled"


def test_a_worker_that_its_place_has_forgotten_ends_its_job(app: App) -> None:
    begun = _begin(app)
    with pytest.raises(WorkerGone, match="`task` is not known to its place"):
        follow(app, Place(app, "forgotten", "running"), begun, lambda line: None)
    with app.registry.database.read() as connection:
        assert lookup.get(connection, begun.job.id).state == "cancelled"


def test_what_it_waits_for_is_said_once_until_it_changes(app: App) -> None:
    said: list[str] = []
    place = Place(app, *["waiting"] * 4, "running")
    place.waits = ["Priority", "Priority", "Resources", ""]
    follow(app, place, _begin(app), said.append)
    assert [line for line in said if line.startswith("it waits")] == [
        "it waits: Priority",
        "it waits: Resources",
    ]


@pytest.mark.parametrize("broken", [KeyboardInterrupt, RuntimeError])
def test_a_job_whose_worker_is_not_begun_is_cancelled_whatever_kept_it(
    app: App, broken: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while `sbatch` is waited for: nobody would ever look into the job's own lane."""

    def submit(task: Task) -> str:
        raise broken

    place = Place(app)
    monkeypatch.setattr(place, "submit", submit)
    with pytest.raises(broken):
        begin(app, Where("local"), place, {}, resources=Resources())
    with app.registry.database.read() as connection:
        found, _ = lookup.listed(connection)
    assert [job.state for job in found] == ["cancelled"]


def test_who_stops_following_is_told_that_the_build_goes_on(
    app: App, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place = Place(app)
    monkeypatch.setattr(opening, "open_executor", lambda where, settings: place)

    def interrupted(*_: object) -> Job:
        raise KeyboardInterrupt

    monkeypatch.setattr(remote, "follow", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_on(app, "local", {}, Resources(), priority=0, detach=False, as_json=False)
    job = place.begun[0].name
    assert f"{job} goes on at local" in (said := capsys.readouterr().err)
    assert f"adapters jobs cancel {job}" in said
    with app.registry.database.read() as connection:
        assert lookup.get(connection, job).state == "queued"


def _change(app: App, job: Job, what: Callable[..., Job]) -> Job:
    with app.registry.database.write() as connection:
        return what(connection, job.id, now=time.time())


def test_who_follows_waits_for_a_job_that_somebody_pauses(app: App) -> None:
    """Its worker ends, and the job is not cancelled for that; it goes on under another worker."""
    begun = _begin(app)
    _change(app, begun.job, queue.pause)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if "is paused" in line:
            _change(app, begun.job, queue.resume)
        elif "nobody runs it" in line:
            with app.registry.database.write() as connection:
                putting.place(connection, begun.job.id, "another")

    place = Place(app, "ended", "running", "running")
    assert follow(app, place, begun, say).ended
    resumed = f"`adapters jobs resume {begun.job.id}`"
    assert said[:2] == [
        f"it is paused; {resumed} lets it go on",
        f"nobody runs it: {resumed} has a worker begun",
    ]


def test_a_resumed_job_is_given_to_its_place_again(app: App) -> None:
    """With what it needs of a node; it has a worker there already, or one that is just ending."""
    database = app.registry.database
    needs = {"gpus": 2, "cpus": None, "memory": 5, "seconds": 60}
    job = queued(database, "on:1", {NEEDS: needs}, {"on": "slurm:gpu"})
    place = Place(app, "running", "ended", "waiting", "running")
    task = begin_again(app, place, job)
    (begun,) = place.begun
    assert begun.resources == Resources(2, None, 5, 60)
    assert begun.command[-2:] == ("--lane", "on:1")
    assert begun.name.startswith(f"{job.id}-")
    with database.read() as connection:
        job = lookup.get(connection, job.id)
    assert task_of(job) == task == f"place-{begun.name}"
    assert begin_again(app, place, job) is None
    assert len(place.begun) == 1
    _change(app, job, queue.cancel)
    with pytest.raises(Conflict, match="is cancelled"):
        begin_again(app, place, job)


def test_a_place_that_cannot_be_asked_from_here_has_forgotten_nothing(app: App) -> None:
    class Nowhere(Place):
        def status(self, id: str) -> State:
            raise NoPlace("`squeue` is not on this machine")

    with pytest.raises(NoPlace):
        worker_status(Nowhere(app), "task")


def test_a_build_that_was_given_away_from_another_home_is_not_begun_twice(
    app: App, tmp_path: Path
) -> None:
    """Where the index is shared and the folders of tasks are not, nothing is known of it here."""
    job = queued(app.registry.database, "on:1", {}, {"on": "local"})
    elsewhere_begun = LocalExecutor(tmp_path / "another-home")
    with pytest.raises(NoPlace, match="was started from here"):
        worker_status(elsewhere_begun, task_of(job))
    with pytest.raises(NoPlace):
        begin_again(app, elsewhere_begun, job)
    assert not (tmp_path / "another-home").exists()


@pytest.mark.parametrize("state", ["queued", "paused"])
def test_the_command_begins_a_worker_for_a_build_that_has_none(
    app: App, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """Paused, or lost with its place's memory: it would be queued for ever."""
    job = queued(app.registry.database, "on:1", {}, {"on": "local"})
    if state == "paused":
        _change(app, job, queue.pause)
    place = Place(app, *["forgotten"] * 9)
    for module in (placed, opening):
        monkeypatch.setattr(module, "open_executor", lambda *_: place)
    monkeypatch.setattr("adapterworks.cli.jobs._FOLLOW_S", 0.0)
    monkeypatch.setattr("adapterworks.cli.jobs_remote._LOOK_S", 0.0)

    def ask(*words: str) -> Any:
        return CliRunner().invoke(jobs, words, obj=app)

    shown = json.loads(ask("show", job.id, "--json").stdout)["worker"]
    followed = ask("logs", job.id)
    if state == "queued":
        assert shown == "forgotten: no such task (at local)"
        assert "its worker: forgotten" in followed.stderr
        with pytest.raises(Unavailable, match=f"nobody runs `{job.id}`") as gone:
            raise ask("logs", job.id, "--follow").exception
        assert f"adapters jobs resume {job.id}" in str(gone.value.hint)
    else:
        assert shown is None
    assert ask("resume", job.id).stdout.startswith(f"{job.id}: queued, given to local as place-")
    assert len(place.begun) == 1
