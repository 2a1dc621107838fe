"""A sweep's trials elsewhere: whoever starts it again takes up the jobs that it has queued."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapterworks.app import App
from adapterworks.builders.sweeping.sweep import Build
from adapterworks.cli import sweep
from adapterworks.manifests.errors import Conflict, NotFound
from adapterworks.manifests.load import load_manifest
from adapterworks.registry.jobs import lookup, queue, schema
from adapterworks.registry.jobs.job import Done, Job, Stop
from adapterworks.settings import Settings
from adapterworks.workers import remote
from adapterworks.workers.detached import MANIFEST_CHANGED
from adapterworks.workers.executors import open as opening
from adapterworks.workers.executors.executor import Resources, State, Task
from adapterworks.workers.remote import Submitted
from tests.builders.workshop import Workshop
from tests.registry.releases import publish

RATE = ("train.learning_rate=0.01",)


class Place:
    """A place whose workers wait, until they are forgotten."""

    shares_files = True

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.forgotten: set[str] = set()

    def submit(self, task: Task) -> str:
        self.begun.append(task.name)
        return task.name

    def status(self, id: str) -> State:
        if id in self.forgotten:
            raise NotFound("no such task")
        return "waiting"

    def why(self, id: str) -> str:
        return ""


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    app = App(Settings.from_environment({"ADAPTERS_HOME": str(tmp_path / "home")}))
    schema.migrate(app.registry.database)
    yield app
    app.close()


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    def follow(app: App, executor: Place, begun: Submitted, say: object) -> Job:
        raise Interrupted(begun.job)

    place = Place()
    monkeypatch.setattr(opening, "open_executor", lambda where, settings: place)
    monkeypatch.setattr(remote, "follow", follow)
    return place


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, Any]:
    path = Workshop(tmp_path, "base").manifest()

    def load(overrides: tuple[str, ...]) -> Any:
        return load_manifest(path, overrides=overrides)

    return {"manifest": path, "profile": None, "overrides": (), "load": load}


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while a trial is followed, with the job that was."""

    def __init__(self, job: Job) -> None:
        self.job = job


def _followed(build: Build) -> Job:
    """The job that a trial is followed by, until Ctrl-C."""
    with pytest.raises(Interrupted) as found:
        build("trial 1", RATE, lambda event: None)
    return found.value.job


def test_a_sweep_that_was_interrupted_takes_up_what_it_queued(
    app: App, place: Place, asked: dict[str, Any]
) -> None:
    def of(on: str, digest: str) -> Build:
        return sweep._elsewhere(app, on, asked, Resources(), digest)

    job = _followed(of("local", "sha256:a"))
    assert _followed(of("local", "sha256:a")).id == job.id
    assert place.begun == [job.id]
    # Another sweep's trial of the same settings is another one, and so is one at another place.
    assert _followed(of("local", "sha256:b")).id != job.id
    assert _followed(of("slurm:gpu", "sha256:a")).id != job.id
    # Killed while it queued, or its node died: nobody comes for the job by himself.
    place.forgotten.add(job.id)
    assert _followed(of("local", "sha256:a")).id == job.id
    assert place.begun[-1].startswith(f"{job.id}-")
    with app.registry.database.write() as connection:
        queue.cancel(connection, job.id, now=time.time())
    assert _followed(of("local", "sha256:a")).id != job.id


def test_of_a_job_that_succeeded_its_release_is_taken_while_it_is_there(
    app: App, place: Place, asked: dict[str, Any], tmp_path: Path
) -> None:
    build = sweep._elsewhere(app, "local", asked, Resources(), "sha256:a")
    job = _followed(build)
    published = publish(app.registry, tmp_path, name="tiny-sweep")
    with app.registry.database.write() as connection:
        taken = queue.claim(connection, [job.lane], holder="worker", now=time.time())
        assert taken is not None
        result = {"ref": "tiny-sweep@1", "digest": published.digest}
        queue.finish(connection, taken[1], Done(result), now=time.time())
    assert _followed(build).id == job.id
    app.registry.delete("tiny-sweep", 1, who="ann", why="room")
    assert _followed(build).id != job.id


def test_a_manifest_that_was_edited_is_no_fault_of_a_trial(
    app: App, place: Place, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be kept as failed, and be so for ever."""

    def follow(app: App, executor: Place, begun: Submitted, say: object) -> Job:
        with app.registry.database.write() as connection:
            taken = queue.claim(connection, [begun.job.lane], holder="worker", now=time.time())
            assert taken is not None
            stopped = Stop(MANIFEST_CHANGED, "`tiny.toml` is not what it was")
            queue.finish(connection, taken[1], stopped, now=time.time())
            return lookup.get(connection, begun.job.id)

    monkeypatch.setattr(remote, "follow", follow)
    build = sweep._elsewhere(app, "local", asked, Resources(), "sha256:a")
    with pytest.raises(Conflict, match="is not what it was"):
        build("trial 1", RATE, lambda event: None)
