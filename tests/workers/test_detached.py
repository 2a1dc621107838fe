"""`adapters build --detach --force`: begun anew once, however long it waited before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from adapterworks.app import App
from adapterworks.builders.building import run as building
from adapterworks.builders.plan.occupied import Occupied
from adapterworks.manifests.errors import Unavailable
from adapterworks.manifests.load import load_manifest
from adapterworks.manifests.models import Manifest
from adapterworks.registry.jobs import putting, queue, schema
from adapterworks.registry.jobs.job import BUILD_LANE, DETACHED, OPERATOR, Again, NewJob, Stop
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


@pytest.mark.parametrize(
    ("changes", "is_built"),
    [
        ({}, True),
        ({"train": {"a_later_versions_key": 1}}, True),
        ({"a_later_versions_table": {"key": None}}, True),
        ({"adapter": {"name": "another"}}, False),
    ],
)
def test_a_job_outlives_an_upgrade(
    app: App,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, dict[str, Any]],
    is_built: bool,
) -> None:
    """A later version has keys with defaults that this one does not know."""
    path = tmp_path / "tiny.toml"
    path.write_text(TEXT)
    manifest = load_manifest(path)
    asked = detached.arguments(
        manifest, str(path), None, (), alias=None, resume=False, force=False, who="me"
    )

    def dumped(self: Manifest, *, exclude_unset: bool = False, **more: Any) -> dict[str, Any]:
        values = BaseModel.model_dump(self, exclude_unset=exclude_unset, **more)
        for table, keys in changes.items():
            if table == "adapter" or not exclude_unset:
                values[table] = {**values.get(table, {}), **keys}
        return values

    class Begun(Exception):
        pass

    def run_build(*_: object, **more: object) -> None:
        raise Begun

    monkeypatch.setattr(building, "run_build", run_build)
    monkeypatch.setattr(Manifest, "model_dump", dumped)
    with app.registry.database.write() as connection:
        putting.put(connection, NewJob(DETACHED, OPERATOR, BUILD_LANE, asked), now=time.time())
        taken = queue.claim(connection, [BUILD_LANE], holder="w", now=time.time())
    assert taken is not None
    if is_built:
        with pytest.raises(Begun):
            detached.run(app, *taken)
    else:
        outcome = detached.run(app, *taken)
        assert isinstance(outcome, Stop)
        assert outcome.code == "manifest_changed"


def test_a_job_of_an_earlier_version_is_held_against_all_that_it_knew(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(TEXT)
    asked = detached.arguments(
        load_manifest(path), str(path), None, (), alias=None, resume=False, force=False, who="me"
    )
    del asked["said"]
    path.write_text(TEXT.replace("lora", "dora"))
    with app.registry.database.write() as connection:
        putting.put(connection, NewJob(DETACHED, OPERATOR, BUILD_LANE, asked), now=time.time())
        taken = queue.claim(connection, [BUILD_LANE], holder="w", now=time.time())
    assert taken is not None
    assert isinstance(detached.run(app, *taken), Stop)


def test_what_is_said_of_a_wait_does_not_change_with_what_is_free() -> None:
    waits = [
        Occupied.of("it needs 1 GiB", size=1 << 30, free=free << 30, total=4 << 30)
        for free in (1, 2)
    ]
    assert waits[0].message != waits[1].message
    assert [wait.public for wait in waits] == [
        "it needs 1 GiB, and others hold too much of this machine's 4.00 GiB"
    ] * 2
