"""Folders of builds that hold erased rows are found and emptied; one that is built in is not."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from adapterworks.app import App
from adapterworks.builders.building import erased, lock, record
from adapterworks.builders.building.erased import builds_of, erase_builds
from adapterworks.builders.building.lock import build_lock
from adapterworks.builders.building.record import Stages
from adapterworks.builders.training.events import EventLog
from adapterworks.cli.delete import command as delete
from adapterworks.manifests.errors import Conflict
from tests.registry.releases import publish


def folder(builds: Path, name: str, dataset: str | None, training: str) -> Path:
    made = builds / name
    (made / "train" / "checkpoints").mkdir(parents=True)
    for file in (".lock", "encoded.safetensors", "samples.jsonl"):
        (made / file).write_text("rows")
    read = [] if dataset is None else [{"relation": "dataset", "digest": dataset, "ref": "d@1"}]
    record = {"done": {}, "digests": {"train": training}, "plan": {"datasets": read}}
    (made / "build.json").write_text(json.dumps(record))
    return made


def test_builds_are_found_by_their_datasets_and_by_their_trainings(tmp_path: Path) -> None:
    by_dataset = folder(tmp_path, "a-1", "sha256:1", "sha256:a")
    by_training = folder(tmp_path, "b-1", None, "sha256:b")
    other = folder(tmp_path, "c-1", "sha256:2", "sha256:c")
    (folder(tmp_path, "torn", None, "sha256:b") / "build.json").write_text("{")
    (tmp_path / "empty").mkdir()
    found = builds_of(tmp_path, {"sha256:1", "sha256:9"}, {"sha256:b"})
    assert found == [by_dataset, by_training]
    erase_builds(found)
    for gone in found:
        assert [path.name for path in gone.iterdir()] == [".lock"]
    assert (other / "encoded.safetensors").exists()
    assert builds_of(tmp_path, {"sha256:1"}, {"sha256:b"}) == []
    assert builds_of(tmp_path / "none", {"sha256:1"}, set()) == []


def test_a_published_build_keeps_no_rows(tmp_path: Path) -> None:
    """What was sampled stays, which `adapters samples` shows."""
    digests = SimpleNamespace(train="sha256:a", to_json=lambda: {"publish": "sha256:p"})
    plan: Any = SimpleNamespace(digests=digests, digest="sha256:p", model_dump=lambda **_: {})
    stages = Stages(tmp_path, plan, EventLog(tmp_path / "events.jsonl"))
    stages.put("publish", "sha256:p", {"name": "a"})
    for name in ("train", "servable", "release", "sampling"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows").write_text("rows")
    for name in ("encoded.safetensors", "rows.json", "judge.jsonl", "judge-evaluation.jsonl"):
        (tmp_path / name).write_text("rows")
    for name in ("predictions.jsonl", "fingerprint.json", "samples.jsonl"):
        (tmp_path / name).write_text("rows")
    stages.close()
    stages.close()  # and once more, as after a kill
    assert {path.name for path in tmp_path.iterdir()} == {"build.json", "samples.jsonl"}


def test_what_cannot_be_removed_ends_no_build_that_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest goes, and it is said what stays."""
    digests = SimpleNamespace(train="sha256:a", to_json=lambda: {"publish": "sha256:p"})
    plan: Any = SimpleNamespace(digests=digests, digest="sha256:p", model_dump=lambda **_: {})
    stages = Stages(tmp_path, plan, EventLog(tmp_path / "events.jsonl"))
    stages.put("publish", "sha256:p", {"name": "a"})
    for name in ("train", "servable"):
        (tmp_path / name).mkdir()
    (tmp_path / "rows.json").write_text("rows")
    assert stages.close() is None
    for name in ("train", "servable"):
        (tmp_path / name).mkdir()
    (tmp_path / "rows.json").write_text("rows")
    remove = record._remove

    def busy(path: Path) -> None:
        if path.name == "train":
            raise OSError(16, "Device or resource busy", str(path))
        remove(path)

    monkeypatch.setattr(record, "_remove", busy)
    assert stages.close() == f"[Errno 16] Device or resource busy: '{tmp_path / 'train'}'"
    assert {path.name for path in tmp_path.iterdir()} == {"build.json", "train"}


def test_what_is_being_built_is_refused_and_nothing_goes(tmp_path: Path) -> None:
    idle = folder(tmp_path, "a-1", "sha256:1", "sha256:a")
    busy = folder(tmp_path, "b-1", "sha256:1", "sha256:b")
    with build_lock(busy), pytest.raises(Conflict, match="a build is under way in"):
        erase_builds([idle, busy])
    assert (idle / "encoded.safetensors").exists()
    erase_builds([idle, busy])
    assert not (busy / "encoded.safetensors").exists()


def test_no_build_begins_in_a_folder_while_it_is_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [folder(tmp_path, f"{name}-1", "sha256:1", "sha256:a") for name in "ab"]
    monkeypatch.setattr(lock, "_PATIENCE", 0.0)
    emptied = []

    def start_over(at: Path) -> None:
        for one in folders:
            with pytest.raises(Conflict, match="is building this plan"), build_lock(one):
                pass
        emptied.append(at)

    monkeypatch.setattr(erased, "start_over", start_over)
    erase_builds(folders)
    assert emptied == folders
    with build_lock(folders[0]):
        pass


def test_the_folders_of_its_builds_go_with_a_purged_release(home: Path, tmp_path: Path) -> None:
    app = App()
    for number, training in ((1, "sha256:a"), (2, "sha256:a"), (3, "sha256:c")):
        publish(app.registry, tmp_path / "made", number, digests={"train": training})
    shared = folder(app.settings.home / "builds", "medical-a", None, "sha256:a")
    own = folder(app.settings.home / "builds", "medical-c", None, "sha256:c")
    asked = ["--purge", "--why", "withdrew", "--yes"]
    with build_lock(own):
        refused = CliRunner().invoke(delete, ["medical@3", *asked], obj=app)
        assert isinstance(refused.exception, Conflict)
    for ref, left in (("medical@3", shared), ("medical@1", shared)):
        done = CliRunner().invoke(delete, [ref, *asked], obj=app)
        assert done.exit_code == 0, done.output
        assert (left / "samples.jsonl").exists(), "`medical@2` is of the same training"
    assert [path.name for path in own.iterdir()] == [".lock"]
    done = CliRunner().invoke(delete, ["medical@2", *asked], obj=app)
    assert f"emptied, as a build of it: {shared}" in done.stderr
    assert [path.name for path in shared.iterdir()] == [".lock"]
    app.close()


def test_a_release_that_is_not_purged_keeps_its_builds(home: Path, tmp_path: Path) -> None:
    """An alias points to it, so nothing is erased: what was sampled is there to be looked at."""
    app = App()
    publish(app.registry, tmp_path / "made", 1, alias="prod", digests={"train": "sha256:a"})
    own = folder(app.settings.home / "builds", "medical-a", None, "sha256:a")
    asked = ["medical@1", "--purge", "--why", "withdrew", "--yes"]
    refused = CliRunner().invoke(delete, asked, obj=app)
    assert isinstance(refused.exception, Conflict)
    assert (own / "samples.jsonl").exists()
    done = CliRunner().invoke(delete, [*asked, "--with-aliases"], obj=app)
    assert done.exit_code == 0, done.output
    assert [path.name for path in own.iterdir()] == [".lock"]
    app.close()
