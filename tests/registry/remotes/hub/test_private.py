"""Nothing private leaves unasked: what is pushed is searched byte by byte."""

from __future__ import annotations

import functools
import json
import socket
from pathlib import Path
from typing import Any, cast

import pytest

from adapterworks.manifests.load import load_manifest
from adapterworks.manifests.paths import portable
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Published
from adapterworks.registry.remotes.hub.client import Hub
from adapterworks.registry.remotes.hub.push import Refused, push
from adapterworks.registry.remotes.private import local_text, private_files
from adapterworks.registry.remotes.pushed import Pushed
from tests.registry.releases import draft, folder
from tests.registry.remotes.hub.memory import REPOSITORY, MemoryHub

ROW = "Patient John Doe, born 1961: amebic balanitis"
TOKENS = [40111, 40112, 40113]
LOCAL = {"train": "patients.jsonl"}
RECIPE = {"train": "icd-10-cm:train", "test": "icd-10-cm:test"}
PROBES = {
    "rows": {"probes": [{"kind": "validation", "token_ids": TOKENS}, {"kind": "general"}]},
    "general": {"probes": [{"kind": "general", "token_ids": [1, 2]}]},
    "odd": [],
}


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


def publish(
    registry: Registry, path: Path, data: dict[str, Any], probes: str = "rows", **fields: Any
) -> Published:
    """A release as a build leaves it, with rows in the files that have some."""
    files = folder(path / f"release-{probes}", lock={"data": {"patients.jsonl": {"rows": 812}}})
    (files / "predictions.jsonl").write_text(json.dumps({"prompt": ROW, "answer": "A06.82"}))
    (files / "fingerprint.json").write_text(json.dumps(PROBES[probes]))
    manifest = {"adapter": {"name": "medical"}, "data": data}
    return registry.publish(files, draft(**{"manifest": manifest, **fields}), who="alice")


def pushed(registry: Registry, hub: MemoryHub, **options: Any) -> Pushed:
    return push(
        registry,
        cast(Hub, hub),
        registry.resolve("medical@1"),
        REPOSITORY,
        who="alice",
        scratch=registry.home / "tmp",
        **options,
    )


def test_a_push_takes_no_path_user_host_or_row_along(
    local_registry: Registry, tmp_path: Path, hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "hospital" / "alice"
    project.mkdir(parents=True)
    rows = project / "patients.jsonl"
    rows.write_text(json.dumps({"prompt": ROW, "completion": "A06.82"}))
    (project / "medical.toml").write_text(
        f'[adapter]\nname = "medical"\n[base]\nmodel = "{project}/base"\n'
        f'[method]\nkind = "lora"\n[data]\ntrain = "{rows}"\n'
    )
    manifest = portable(load_manifest(project / "medical.toml")).model_dump(mode="json")
    monkeypatch.setenv("USER", "alice")
    publish(local_registry, tmp_path, LOCAL, manifest=manifest, created_by="")
    done = pushed(local_registry, hub)
    assert done.withheld == ("adapter.lock", "fingerprint.json", "predictions.jsonl")
    assert done.tells == ()
    assert hub.repositories[REPOSITORY].private
    private = [str(tmp_path), str(project), "alice", socket.gethostname(), "John Doe", "40112"]
    for path, data in hub.files().items():
        for text in private:
            assert text.encode() not in data, (path, text)
    record = json.loads(hub.files()["adapterworks/release.json"])
    assert record["files"].keys() >= set(done.withheld)  # their digests stay


@pytest.mark.parametrize(
    ("data", "probes", "expected"),
    [
        (LOCAL, "rows", {"adapter.lock", "fingerprint.json"}),
        (LOCAL, "general", {"adapter.lock"}),
        (LOCAL, "odd", {"adapter.lock", "fingerprint.json"}),
        (RECIPE, "rows", set()),
        ({}, "rows", {"fingerprint.json"}),  # a merge has its parents' probes
        ({}, "general", set()),  # an import has none of rows
        ({"train": "hub:org/ours@main"}, "rows", {"fingerprint.json"}),
        ({"train": "another-recipe:train"}, "rows", {"fingerprint.json"}),
        (RECIPE | {"validation": "v.jsonl"}, "rows", {"adapter.lock", "fingerprint.json"}),
        ({"mix": [{"source": "a.jsonl"}]}, "rows", {"adapter.lock", "fingerprint.json"}),
        ({"mix": [3, {"source": "a.jsonl"}]}, "rows", {"adapter.lock", "fingerprint.json"}),
        (RECIPE | {"replay": {"source": "b.csv"}}, "rows", {"adapter.lock", "fingerprint.json"}),
        (RECIPE | {"train": "?"}, "rows", {"adapter.lock", "fingerprint.json"}),
        (RECIPE | {"mix": 3, "replay": [], "test": 1}, "rows", set()),
    ],
)
def test_what_is_private(
    local_registry: Registry,
    tmp_path: Path,
    data: dict[str, Any],
    probes: str,
    expected: set[str],
) -> None:
    published = publish(local_registry, tmp_path, data, probes)
    release = local_registry.release(published.digest)
    read = functools.partial(local_registry.read_if_here, release.digest)
    assert private_files(release, read) == {"predictions.jsonl", *expected}


def test_what_is_named_leaves(local_registry: Registry, tmp_path: Path, hub: MemoryHub) -> None:
    publish(local_registry, tmp_path, LOCAL)
    done = pushed(local_registry, hub, include=("fingerprint.json", "adapter.*"))
    assert done.withheld == ("predictions.jsonl",)
    assert done.tells == ("adapter.lock", "fingerprint.json")
    assert b"40112" in hub.files()["fingerprint.json"]


def test_who_may_see_it_is_said_before_anything_is_sent(
    local_registry: Registry, tmp_path: Path, hub: MemoryHub
) -> None:
    publish(local_registry, tmp_path, LOCAL)
    said: list[tuple[str, int]] = []

    def say(line: str) -> None:
        said.append((line, len(hub.done)))

    pushed(local_registry, hub, say=say)
    hub.repositories[REPOSITORY].private = False
    with pytest.raises(Refused, match="is public"):
        pushed(local_registry, hub, say=say)
    pushed(local_registry, hub, private=False, say=say)
    before, *after = said
    assert before == (f"{REPOSITORY} will be private", 0)
    assert {line for line, _ in after} == {
        f"{REPOSITORY} is PUBLIC: anybody may read what is pushed"
    }


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ("/home/alice/hospital/patients.jsonl", True),
        ("~/patients.jsonl", True),
        ("file:/srv/x/y", True),
        ("C:\\Users\\alice", True),
        ("/no_think Answer with the code", False),
        ("/patients.jsonl", True),
        ("/a\n/b/c", False),
        ("patients.jsonl", False),
        ("either/or", False),
        ("trained on ward7-gpu2", True),
        ("trained on ward7-gpu21", False),
    ],
)
def test_a_record_that_tells_of_a_machine_is_not_pushed(
    local_registry: Registry,
    tmp_path: Path,
    hub: MemoryHub,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    tells: bool,
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "ward7-gpu2")
    published = publish(local_registry, tmp_path, {"train": text})
    release = local_registry.release(published.digest)
    assert local_text(release) == (text if tells else None)
    if not tells:
        assert pushed(local_registry, hub).created
        return
    with pytest.raises(Refused, match="tells of the machine"):
        pushed(local_registry, hub)
    assert hub.done == []
    hub.fill({".gitattributes": b""})
    with pytest.raises(Refused, match="tells of the machine"):
        pushed(local_registry, hub)
    assert hub.done == []
    done = pushed(local_registry, hub, include=("adapterworks/release.json",))
    assert done.created
    assert done.tells[0].startswith("adapterworks/release.json")
