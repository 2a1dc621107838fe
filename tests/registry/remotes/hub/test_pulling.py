"""A pull against a Hub in memory: the same release, checked as a stranger's, or nothing."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from safetensors.numpy import load_file, save_file

from adapterworks.manifests.digests import canonical_json
from adapterworks.manifests.errors import Conflict, IntegrityError, InvalidInput, Refused
from adapterworks.registry.bases.base import Base
from adapterworks.registry.blobs.store import MissingBlob
from adapterworks.registry.imports.errors import ImportRefused
from adapterworks.registry.index import log
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import FileEntry, Release, Servable
from adapterworks.registry.remotes.hub.client import Hub
from adapterworks.registry.remotes.hub.names import HubSource
from adapterworks.registry.remotes.hub.pull import Pulled, pull
from adapterworks.registry.remotes.hub.push import push
from tests.registry.imports.hostile.good import RANK, TARGETS, write_adapter, write_base
from tests.registry.releases import BASE, draft, publish
from tests.registry.remotes.hub.memory import REPOSITORY, MemoryHub

RECORD = "adapterworks/release.json"
ROWS = "predictions.jsonl"


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Registry]:
    """Another registry."""
    home = tmp_path / "theirs"
    opened = Registry.open(
        database=f"sqlite:///{tmp_path / 'theirs.db'}", blobs=str(home / "blobs"), home=home
    )
    yield opened
    opened.close()


@pytest.fixture
def hub(local_registry: Registry, tmp_path: Path) -> MemoryHub:
    """A Hub to which `medical@1` was pushed, without its predictions."""
    files = tmp_path / "release"
    for role in ("adapter", "servable"):
        write_adapter(files / role)
    (files / "README.md").write_text("# medical\n")
    (files / ROWS).write_bytes(b"{}\n")
    servable = Servable(form="lora", origin="native", rank=RANK, target_modules=TARGETS)
    local_registry.publish(files, draft(servable=servable), who="tester")
    made = MemoryHub()
    push(
        local_registry,
        cast(Hub, made),
        local_registry.resolve("medical@1"),
        REPOSITORY,
        who="tester",
        scratch=tmp_path / "scratch",
    )
    made.fetched.clear()
    return made


def pulled(registry: Registry, hub: MemoryHub, **options: Any) -> Pulled:
    return pull(
        registry,
        cast(Hub, hub),
        hub.state(HubSource(REPOSITORY)),
        who="bob",
        scratch=registry.home / "tmp",
        find_base=options.pop("find_base", lambda _: None),
        **options,
    )


def spoil(hub: MemoryHub, **files: bytes | None) -> None:
    """Somebody changes or removes files by hand; `_` stands for the record's path."""
    changes = {RECORD if path == "_" else path.replace("__", "."): d for path, d in files.items()}
    kept = {path: data for path, data in hub.files().items() if path not in changes}
    hub.fill({**kept, **{path: data for path, data in changes.items() if data is not None}})


def test_the_same_release_under_the_same_digest(
    theirs: Registry, local_registry: Registry, hub: MemoryHub
) -> None:
    ours = local_registry.resolve("medical@1").digest
    done = pulled(theirs, hub, alias="prod")
    commit = hub.repositories[REPOSITORY].main
    assert (done.published.digest, done.published.version) == (ours, 1)
    assert (done.repository, done.commit, done.withheld) == (REPOSITORY, commit, (ROWS,))
    assert theirs.resolve("medical:prod").digest == ours
    for path in local_registry.release(ours).files.keys() - {ROWS}:
        assert theirs.read(ours, path) == local_registry.read(ours, path)
    # Each digest once, and never more bytes than the record says.
    release = local_registry.release(ours)
    sizes = dict(hub.fetched)
    assert (
        sizes["adapter_model.safetensors"]
        == release.files["adapter/adapter_model.safetensors"].size
    )
    assert len(hub.fetched) == len(sizes) == 5
    (event,) = [event for event in theirs.log.events("medical") if event.kind == "pull"]
    assert (event.who, event.version) == ("bob", 1)
    assert event.data == {
        "digest": ours,
        "repository": REPOSITORY,
        "endpoint": "https://hub.test",
        "commit": commit,
        "withheld": [ROWS],
    }
    assert [path for path in (theirs.home / "tmp").rglob("*") if path.is_file()] == []


def test_a_release_that_has_no_room_is_refused_before_it_is_fetched(
    theirs: Registry, local_registry: Registry, hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its bytes lie in the stage and in the store; what the Hub does not have takes none."""
    release = local_registry.release(local_registry.resolve("medical@1").digest)
    here = {entry.digest: entry.size for path, entry in release.files.items() if path != ROWS}
    room = SimpleNamespace(free=2 * sum(here.values()) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    with pytest.raises(Refused, match="are free where") as refused:
        pulled(theirs, hub)
    assert "adapters gc" in (refused.value.hint or "")
    assert "adapter_model.safetensors" not in dict(hub.fetched)
    room.free += 1
    pulled(theirs, hub)


def test_room_is_asked_for_where_the_bytes_will_lie(
    theirs: Registry, local_registry: Registry, hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is elsewhere, or has them, takes no second copy here."""
    release = local_registry.release(local_registry.resolve("medical@1").digest)
    size = sum(entry.size for path, entry in release.files.items() if path != ROWS)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=size))
    with pytest.raises(Refused, match="are free where"):
        pulled(theirs, hub)
    monkeypatch.setattr(type(theirs.blobs), "exists", lambda *_: True)
    with contextlib.suppress(MissingBlob):  # they are not, whatever is said
        pulled(theirs, hub)
    assert "adapter_model.safetensors" in dict(hub.fetched)


def test_a_whole_model_many_times_its_base_is_refused_before_it_is_fetched(
    theirs: Registry, local_registry: Registry, hub: MemoryHub, tmp_path: Path
) -> None:
    release = local_registry.release(local_registry.resolve("medical@1").digest)
    path = "full/model.safetensors"
    entry = FileEntry.at(path, digest=f"sha256:{7:064d}", size=2 << 30)
    large = Release.from_draft(release.to_draft(), {**release.files, path: entry})
    spoil(hub, _=large.to_bytes())
    checkpoint = write_base(tmp_path / "tiny")
    base = cast(Base, SimpleNamespace(checkpoint=checkpoint))
    with pytest.raises(ImportRefused, match="are the limit"):
        pulled(theirs, hub, find_base=lambda _: base)
    assert [path for path, _ in hub.fetched] == [RECORD]


def test_what_did_not_come_is_withheld_by_where_it_came_from(
    theirs: Registry, hub: MemoryHub
) -> None:
    done = pulled(theirs, hub)
    absence = theirs.absences(done.published.digest)[ROWS]
    assert absence.state == "withheld"
    assert absence.why == f"not sent by hub:{REPOSITORY}@{done.commit}"


def test_a_statement_does_not_hide_what_is_there(theirs: Registry, hub: MemoryHub) -> None:
    hub.fill({**hub.files(), ROWS: b"{}\n"})
    assert pulled(theirs, hub).withheld == ()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"adapter_config__json": b"{}"},
            "`adapter/adapter_config.json` .* is not what its record says",
        ),
        ({"adapter_config__json": None}, "has no `adapter/adapter_config.json`, which its record"),
        ({"adapterworks/absent__json": None}, f"has no `{ROWS}`"),
        ({"_": b"{}"}, "is not a release record"),
    ],
)
def test_a_repository_that_is_not_what_its_record_says_is_refused(
    theirs: Registry, hub: MemoryHub, files: dict[str, bytes | None], words: str
) -> None:
    spoil(hub, **files)
    with pytest.raises(IntegrityError, match=words):
        pulled(theirs, hub)
    assert theirs.names() == []


def test_equal_size_is_not_equal_bytes(theirs: Registry, hub: MemoryHub) -> None:
    card = hub.files()["adapterworks/README.md"]
    spoil(hub, **{"adapterworks/README__md": card.replace(b"m", b"M")})
    with pytest.raises(IntegrityError, match="is not what its record says"):
        pulled(theirs, hub)


def test_a_record_is_no_proof_of_harmlessness(theirs: Registry, hub: MemoryHub) -> None:
    table = json.loads(hub.files()[RECORD])
    table["files"]["servable/run.py"] = table["files"]["README.md"] | {"role": "servable"}
    spoil(hub, _=canonical_json(table))
    with pytest.raises(ImportRefused, match="code"):
        pulled(theirs, hub)
    assert theirs.names() == []


def test_shapes_are_checked_where_the_base_is_here(
    theirs: Registry, hub: MemoryHub, tmp_path: Path
) -> None:
    """The base is asked for by the record's digest, and one layer fewer has no place for it all."""
    asked: list[str] = []

    def find(digest: str) -> Base:
        asked.append(digest)
        return cast(Base, SimpleNamespace(checkpoint=checkpoint))

    checkpoint = write_base(tmp_path / "small")
    weights = checkpoint / "model.safetensors"
    tensors = {n: t for n, t in load_file(weights).items() if ".layers.1." not in n}
    save_file(tensors, weights)
    with pytest.raises(ImportRefused):
        pulled(theirs, hub, find_base=find)
    assert theirs.names() == []
    checkpoint = write_base(tmp_path / "right")
    assert pulled(theirs, hub, find_base=find).published.version == 1
    assert set(asked) == {BASE.digest}


def test_another_name_is_another_release_that_says_where_it_is_from(
    theirs: Registry, local_registry: Registry, hub: MemoryHub
) -> None:
    ours = local_registry.resolve("medical@1").digest
    done = pulled(theirs, hub, name="coding")
    source = f"hub:{REPOSITORY}@{done.commit}"
    assert done.published.name == "coding"
    release = theirs.release(done.published.digest)
    assert release.digest != ours
    assert release.files == local_registry.release(ours).files
    assert release.created_by == local_registry.release(ours).created_by
    assert (release.provenance.made, release.provenance.source) == ("copied", source)
    assert release.provenance.revision == done.commit
    (parent,) = release.parents
    assert (parent.relation, parent.digest, parent.ref) == ("copy", ours, f"medical at {source}")


def test_its_own_name_is_no_other_name(
    theirs: Registry, local_registry: Registry, hub: MemoryHub
) -> None:
    ours = local_registry.resolve("medical@1").digest
    assert pulled(theirs, hub, name="medical").published.digest == ours
    with pytest.raises(InvalidInput, match="is not"):
        pulled(theirs, hub, name="Not A Name")


@pytest.mark.parametrize(("name", "kept"), [(None, True), ("medical", True), ("coding", False)])
def test_signatures_come_with_the_record_they_are_of(
    theirs: Registry, hub: MemoryHub, name: str | None, kept: bool
) -> None:
    key = "a" * 64
    hub.fill({**hub.files(), f"adapterworks/signatures/{key}.json": b"{}"})
    done = pulled(theirs, hub, name=name)
    found = theirs.signatures.counting(done.published.digest)
    assert found == ({f"sha256:{key}": ["{}"]} if kept else {})


def test_a_strangers_record_decides_no_name_that_exists_here(
    theirs: Registry, hub: MemoryHub, tmp_path: Path
) -> None:
    mine = publish(theirs, tmp_path, 9)
    hub.fetched.clear()
    with pytest.raises(Conflict, match="its record says `medical`, which exists here") as error:
        pulled(theirs, hub)
    assert [path for path, _ in hub.fetched] == [RECORD]  # nothing else was fetched
    assert "--as" in (error.value.hint or "")
    assert [row.digest for row in theirs.versions("medical")] == [mine.digest]
    assert pulled(theirs, hub, name="support").published.version == 1
    assert str(pulled(theirs, hub, name="medical").published) == "medical@2"
    # From now on that repository is known under the name; what is here already is no question.
    assert pulled(theirs, hub).published.version == 2


def test_a_name_that_was_pushed_to_a_repository_is_pulled_from_it(
    local_registry: Registry, theirs: Registry, hub: MemoryHub, tmp_path: Path
) -> None:
    local_registry.delete("medical", 1, who="ann")
    assert str(pulled(local_registry, hub).published) == "medical@2"
    with theirs.database.write() as connection:
        log.append(
            connection, "medical", "push", who="x", repository=REPOSITORY, endpoint="elsewhere"
        )
    publish(theirs, tmp_path, 9)
    with pytest.raises(Conflict):  # that was another Hub's repository of this name
        pulled(theirs, hub)


def test_what_is_too_large_is_not_fetched(theirs: Registry, hub: MemoryHub) -> None:
    table = json.loads(hub.files()[RECORD])
    table["files"]["adapter/adapter_model.safetensors"]["size"] = 9 << 30
    spoil(hub, _=canonical_json(table))
    hub.fetched.clear()
    with pytest.raises(ImportRefused, match="are the limit"):
        pulled(theirs, hub)
    assert [path for path, _ in hub.fetched] == [RECORD]
