"""What goes along where files are not shared: the manifest with its rows, and checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapterworks.manifests.digests import digest_bytes, digest_file
from adapterworks.manifests.errors import IntegrityError, InvalidInput, NotFound
from adapterworks.manifests.load import load_manifest
from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.jobs import lookup, putting, queue, schema
from adapterworks.registry.jobs.job import DETACHED, OPERATOR, Claim, Done, NewJob
from adapterworks.registry.jobs.queue import Lost
from adapterworks.registry.lifecycle.gc import collect
from adapterworks.registry.registry import Registry
from adapterworks.workers.bundle import pack, unpack
from adapterworks.workers.remote import queued, stored

TEXT = """
[adapter]
name = "tiny"
[base]
model = "{base}"
[method]
kind = "lora"
[data]
train = "rows/train.jsonl"
test = "{test}"
[data.augment]
share = 0.2
lexicon = "words.json"
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry.open(
        database=f"sqlite:///{tmp_path / 'index.db'}", blobs=str(tmp_path / "blobs"), home=tmp_path
    )
    schema.migrate(opened.database)
    yield opened
    opened.close()


def _manifest(folder: Path, base: str = "smollm2", test: str = "more/*.jsonl") -> Path:
    for name in ("rows/train.jsonl", "more/a.jsonl", "more/b.jsonl", "words.json", "other.txt"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"[] {name}")
    path = folder / "tiny.toml"
    path.write_text(TEXT.format(base=base, test=test))
    return path


def _stored(registry: Registry, path: Path) -> tuple[str, dict[str, str]]:
    """A manifest's files in the store, held by nobody any more."""
    packed = pack(str(path), load_manifest(path))
    with stored(registry, packed):
        return packed.name, dict(packed.files)


def test_a_manifest_and_what_it_names_come_out_as_they_went_in(
    registry: Registry, tmp_path: Path
) -> None:
    path = _manifest(tmp_path / "here")
    name, files = _stored(registry, path)
    assert name == "tiny.toml"
    assert set(files) == {
        *("tiny.toml", "rows/train.jsonl", "more/a.jsonl", "more/b.jsonl", "words.json")
    }
    there = tmp_path / "there"
    for _ in range(2):  # again on the same node
        unpack(files, registry.blobs, there)
    assert {
        file.relative_to(there).as_posix(): file.read_bytes()
        for file in there.rglob("*")
        if file.is_file()
    } == {name: (tmp_path / "here" / name).read_bytes() for name in files}
    assert load_manifest(there / name) == load_manifest(path)


@pytest.mark.parametrize(
    ("given", "error", "why"),
    [
        ({"test": "../rows.jsonl"}, InvalidInput, "outside of the manifest's folder"),
        ({"test": "/etc/rows.jsonl"}, InvalidInput, "outside of the manifest's folder"),
        ({"test": "~/rows.jsonl"}, InvalidInput, "outside of the manifest's folder"),
        ({"test": "nothing.jsonl"}, NotFound, "names files that do not exist"),
        ({"base": "./model"}, InvalidInput, "does not go along"),
    ],
)
def test_what_cannot_go_along_is_refused(
    registry: Registry, tmp_path: Path, given: dict[str, str], error: type[Exception], why: str
) -> None:
    path = _manifest(tmp_path / "here", **given)
    with pytest.raises(error, match=why):
        pack(str(path), load_manifest(path))


@pytest.mark.parametrize("name", ["../up", "/etc/x", "a/../../b", ""])
def test_a_packed_path_leads_nowhere_else(registry: Registry, tmp_path: Path, name: str) -> None:
    registry.blobs.put(digest_bytes(b"x"), b"x")
    with pytest.raises(IntegrityError, match="leads out"):
        unpack({name: digest_bytes(b"x")}, registry.blobs, tmp_path / "there")


def _claimed(registry: Registry) -> Claim:
    now = time.time()
    with registry.database.write() as connection:
        putting.put(connection, NewJob(DETACHED, OPERATOR, "on:1", {}), now=now)
        taken = queue.claim(connection, ["on:1"], holder="me", now=now)
    assert taken is not None
    return taken[1]


def _build(folder: Path, step: int, best: int) -> None:
    for name in (f"step-{step:08d}", f"best-{best:08d}"):
        checkpoint = folder / "train" / "checkpoints" / name
        checkpoint.mkdir(parents=True, exist_ok=True)
        (checkpoint / "state.json").write_text(json.dumps({"of": name}))
        (checkpoint / "weights.safetensors").write_text(f"weights of {name}")
    (folder / "build.json").write_text(json.dumps({"step": step}))
    (folder / "events.jsonl").write_text("{}\n" * step)
    (folder / "train" / "samples.jsonl").write_text("sampled")
    (folder / "samples.jsonl").write_text(f"sampled until {step}")
    (folder / "judge.jsonl").write_text(f"said until {step}")


def _kept(registry: Registry, claim: Claim) -> Any:
    with registry.database.read() as connection:
        return lookup.get(connection, claim.job).result["checkpoint"]


def test_another_node_goes_on_where_the_first_one_was(registry: Registry, tmp_path: Path) -> None:
    from adapterworks.workers.blob_checkpoints import BlobCheckpoints

    claim, said = _claimed(registry), list[str]()
    first = tmp_path / "first" / "tiny-123"
    _build(first, 4, 2)
    BlobCheckpoints(registry.database, registry.blobs, claim, None, said.append).save(first)
    kept = _kept(registry, claim)
    assert (kept["folder"], kept["step"]) == ("tiny-123", 4)
    assert said == []

    def restore(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        BlobCheckpoints(registry.database, registry.blobs, claim, kept, said.append).restore(folder)

    second = tmp_path / "second" / "tiny-123"
    _build(second, 3, 1)  # it had been here before, and less far
    (second / ".lock").touch()
    restore(second)
    assert said == ["took over the checkpoint of step 4 from the blob store"]
    assert (second / ".lock").exists()

    def files(folder: Path) -> dict[str, bytes]:
        found = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}

    assert files(second) == files(first)
    further = tmp_path / "third" / "tiny-123"
    _build(further, 8, 2)
    restore(further)
    assert (further / "train" / "checkpoints" / "step-00000008").exists(), "it was further itself"
    other = tmp_path / "fourth" / "tiny-of-another-stage"
    restore(other)
    assert list(other.iterdir()) == []


def test_a_lost_worker_does_not_put_its_successor_back(registry: Registry, tmp_path: Path) -> None:
    from adapterworks.workers.blob_checkpoints import BlobCheckpoints

    claim = _claimed(registry)
    folder = tmp_path / "tiny-123"
    _build(folder, 4, 2)
    lost = Claim(claim.job, claim.attempt, "another")
    with pytest.raises(Lost):
        BlobCheckpoints(registry.database, registry.blobs, lost, None, print).save(folder)


def _hours_later(registry: Registry, folder: Path) -> list[str]:
    """What gc removes when all that is stored has become old."""
    for path in (folder / "blobs").rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 7200, time.time() - 7200))
    report = collect(registry.database, registry.blobs, folder / "checkouts", grace=0)
    return [blob.digest for blob in report.blobs]


def test_gc_leaves_what_a_build_elsewhere_needs_until_it_has_ended(
    registry: Registry, tmp_path: Path
) -> None:
    from adapterworks.workers.blob_checkpoints import BlobCheckpoints

    path = _manifest(tmp_path / "here")
    _, files = _stored(registry, path)
    job = queued(registry.database, "on:1", {"files": files}, {})
    with registry.database.write() as connection:
        taken = queue.claim(connection, ["on:1"], holder="me", now=time.time())
    assert taken is not None
    claim = taken[1]
    folder = tmp_path / "first" / "tiny-123"
    checkpoints = BlobCheckpoints(registry.database, registry.blobs, claim, None, print)
    for step in (4, 8):
        shutil.rmtree(folder, ignore_errors=True)
        _build(folder, step, 2)
        checkpoints.save(folder)
    gone = _hours_later(registry, tmp_path)
    assert digest_bytes(b"weights of step-00000004") in gone, "the job names another one"
    unpack(files, registry.blobs, tmp_path / "there")
    second = tmp_path / "second" / "tiny-123"
    _build(second, 9, 1)
    (second / "build.json").unlink()  # killed while it was being written: of no build
    BlobCheckpoints(
        registry.database, registry.blobs, claim, _kept(registry, claim), print
    ).restore(second)
    assert json.loads((second / "build.json").read_text()) == {"step": 8}
    with registry.database.write() as connection:
        queue.finish(connection, claim, Done({}), now=time.time())
        assert lookup.get(connection, job.id).ended
    gone = _hours_later(registry, tmp_path)
    assert {*files.values(), digest_bytes(b"weights of step-00000008")} <= set(gone)


def _gc_beside_each_put(
    registry: Registry, folder: Path, sources: Iterable[Path], patch: pytest.MonkeyPatch
) -> None:
    """All that is to be stored is there already, old and nobody's; gc runs after each put."""
    for path in sources:
        registry.blobs.put(digest_file(path), path)
    put = LocalBlobs.put

    def put_then_gc(store: LocalBlobs, digest: str, source: Path | bytes) -> None:
        put(store, digest, source)
        _hours_later(registry, folder)

    patch.setattr(LocalBlobs, "put", put_then_gc)


def test_gc_beside_what_goes_along_leaves_it(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = pack(str(path := _manifest(tmp_path / "here")), load_manifest(path))
    schema.migrate(registry.database)
    _gc_beside_each_put(registry, tmp_path, packed.sources.values(), monkeypatch)
    with stored(registry, packed):
        queued(registry.database, "on:1", {"files": dict(packed.files)}, {})
    _hours_later(registry, tmp_path)
    unpack(packed.files, registry.blobs, tmp_path / "there")


def test_gc_beside_a_checkpoint_leaves_it(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapterworks.workers.blob_checkpoints import BlobCheckpoints

    claim, folder = _claimed(registry), tmp_path / "first" / "tiny-123"
    _build(folder, 4, 2)
    _gc_beside_each_put(
        registry, tmp_path, [p for p in folder.rglob("*") if p.is_file()], monkeypatch
    )
    BlobCheckpoints(registry.database, registry.blobs, claim, None, print).save(folder)
    second = tmp_path / "second" / "tiny-123"
    second.mkdir(parents=True)
    BlobCheckpoints(
        registry.database, registry.blobs, claim, _kept(registry, claim), print
    ).restore(second)
    assert (second / "build.json").read_bytes() == (folder / "build.json").read_bytes()


def test_what_a_lost_worker_stored_is_held_by_nobody(registry: Registry, tmp_path: Path) -> None:
    from adapterworks.workers.blob_checkpoints import BlobCheckpoints

    claim, folder = _claimed(registry), tmp_path / "tiny-123"
    _build(folder, 4, 2)
    lost = Claim(claim.job, claim.attempt, "another")
    with pytest.raises(Lost):
        BlobCheckpoints(registry.database, registry.blobs, lost, None, print).save(folder)
    assert digest_bytes(b"weights of step-00000004") in _hours_later(registry, tmp_path)
