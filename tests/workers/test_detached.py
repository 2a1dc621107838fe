"""`adapters build --detach --force`: begun anew once, however long it waited before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapterworks.app import App
from adapterworks.builders.building import run as building
from adapterworks.builders.plan.occupied import Occupied
from adapterworks.manifests.errors import Unavailable
from adapterworks.manifests.load import load_manifest
from adapterworks.registry.jobs import putting, queue, schema
from adapterworks.registry.jobs.job import BUILD_LANE, DETACHED, OPERATOR, Again, NewJob
from adapterworks.settings import Settings
from adapterworks.workers import detached

TEXT = """
[adapter]
name = "tiny"
[base]
model = "smollm2"
[method]
kind = "lora"
[data]
train = "train.jsonl"
"""


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    app = App(Settings.from_environment({"ADAPTERS_HOME": str(tmp_path)}))
    app.registry.require_own_store()
    schema.migrate(app.registry.database)
    yield app
    app.close()


def test_what_waited_for_memory_is_still_begun_anew_and_what_crashed_is_not(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(TEXT)
    asked = detached.arguments(
        load_manifest(path), str(path), None, (), alias=None, resume=False, force=True, who="me"
    )
    database, forced = app.registry.database, list[bool]()

    def run_build(*_: object, force: bool, listeners: Any, **more: object) -> None:
        forced.append(force)
        if len(forced) <= 2:
            raise Occupied("not now")
        for listener in listeners:
            listener({"event": "stage", "name": "train", "state": "begin"})
        raise Unavailable("the disk is full")

    monkeypatch.setattr(building, "run_build", run_build)
    with database.write() as connection:
        putting.put(connection, NewJob(DETACHED, OPERATOR, BUILD_LANE, asked), now=time.time())
    for _ in range(4):
        with database.write() as connection:
            taken = queue.claim(connection, [BUILD_LANE], holder="w", now=time.time())
        assert taken is not None
        with pytest.raises(Unavailable):
            detached.run(app, *taken)
        with database.write() as connection:
            queue.finish(connection, taken[1], Again(0.0, "later", counts=False), now=time.time())
    assert forced == [True, True, True, False]


def test_what_is_said_of_a_wait_does_not_change_with_what_is_free() -> None:
    waits = [
        Occupied.of("it needs 1 GiB", size=1 << 30, free=free << 30, total=4 << 30)
        for free in (1, 2)
    ]
    assert waits[0].message != waits[1].message
    assert [wait.public for wait in waits] == [
        "it needs 1 GiB, and others hold too much of this machine's 4.00 GiB"
    ] * 2
