"""Who follows a build elsewhere bears with a place that does not answer, and sees a lost worker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterworks.app import App
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.jobs import lookup, queue, schema
from adapterworks.registry.jobs.job import Given
from adapterworks.settings import Settings
from adapterworks.workers import elsewhere
from adapterworks.workers.elsewhere import Begun, follow, queued
from adapterworks.workers.executors.executor import State, Task


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.setattr(elsewhere, "_LOOK_S", 0.0)
    monkeypatch.setattr(elsewhere, "_PLACE_LOOK_S", 0.0)
    app = App(Settings.from_environment({"ADAPTERS_HOME": str(tmp_path)}))
    schema.migrate(app.registry.database)
    yield app
    app.close()


class Place:
    """A place that says these states, one at each question; None: it does not answer.

    At the last one the job is ended, as its worker does.
    """

    shares_files = True

    def __init__(self, app: App, *says: State | None) -> None:
        self._app, self.says = app, list(says)

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
        return said

    def log(self, id: str) -> str:
        raise Unavailable("the place does not answer")

    def submit(self, task: Task) -> str:
        raise NotImplementedError

    def cancel(self, id: str) -> None:
        raise NotImplementedError


def _begin(app: App) -> Begun:
    return Begun(queued(app.registry.database, "on:1", {}, {}), "task")


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
    with pytest.raises(Unavailable, match="worker `task` failed before its job was done") as gone:
        follow(app, place, begun, lambda line: None)
    assert "the place does not answer" in gone.value.message  # its log cannot be had
    with app.registry.database.read() as connection:
        assert lookup.get(connection, begun.job.id).state == "cancelled"
