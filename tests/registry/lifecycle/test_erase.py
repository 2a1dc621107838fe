"""Erased bytes are gone, are said to be, and do not come back; what needs them is not broken."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from adapterworks.manifests.errors import IntegrityError, InvalidInput, NotFound, Refused
from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.absence import AbsentFile
from adapterworks.registry.releases.types import Published
from tests.registry.lifecycle.test_signing import make_key
from tests.registry.releases import draft, folder

PREDICTIONS = "predictions.jsonl"
TEXT = b'{"prompt": "Jane Roe, born 1970", "answer": "I10"}\n'
WEIGHTS = "servable/adapter_model.safetensors"


def release(
    registry: Registry, path: Path, number: int = 1, *, text: bytes = TEXT, name: str = "medical"
) -> Published:
    files = folder(path / f"{name}-{number}", number)
    (files / PREDICTIONS).write_bytes(text)
    (files / "plots").mkdir(exist_ok=True)
    (files / "plots" / "rows.csv").write_bytes(text)
    (files / "plots" / "loss.png").write_bytes(b"png")
    published = registry.publish(files, draft(number, name=name), who="ann")
    shutil.rmtree(files)
    return published


def blob(registry: Registry, published: Published, path: str = PREDICTIONS) -> str:
    return registry.release(published.digest).files[path].digest


def holding(root: Path, data: bytes) -> list[Path]:
    """The files under a folder that hold some bytes anywhere."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return [path for path in files if data in path.read_bytes()]


def test_bytes_that_were_sent_after_they_were_erased_go_with_the_publish(
    registry: Registry, tmp_path: Path
) -> None:
    published = release(registry, tmp_path)
    rows = blob(registry, published)
    registry.upkeep.erase(rows, who="dpo", why="consent withdrawn")
    registry.blobs.put(rows, TEXT)  # as an older program would
    registry.publish_stored(registry.release(published.digest), built=True, who="ann")
    assert not registry.blobs.exists(rows)
    assert registry.upkeep.verify("medical@1").clean


def test_no_byte_is_left_and_everything_still_verifies(registry: Registry, tmp_path: Path) -> None:
    published = release(registry, tmp_path)
    private, public = make_key(tmp_path, "ours")
    registry.signatures.sign(published.digest, private, who="ann")
    registry.checkout(published.digest, "plots")
    build = registry.home / "builds" / "medical-1"
    build.mkdir(parents=True)
    (build / PREDICTIONS).write_bytes(TEXT)
    assert len(holding(tmp_path, b"Jane Roe")) == 3  # blob, checkout, build
    record = registry.release(published.digest).to_bytes()

    done = registry.upkeep.erase(blob(registry, published), who="dpo", why="consent withdrawn")
    assert done.created
    assert {(holder.path, str(holder)) for holder in done.holders} == {
        (PREDICTIONS, "medical@1"),
        ("plots/rows.csv", "medical@1"),
    }
    assert len(done.copies) == 2
    assert holding(tmp_path, b"Jane Roe") == []
    assert registry.release(published.digest).to_bytes() == record
    report = registry.upkeep.verify(public_keys=[public])
    assert report.problems == []
    assert {(a.path, a.state, a.who, a.why) for a in report.absent} == {
        ("plots/rows.csv", "erased", "dpo", "consent withdrawn"),
        (PREDICTIONS, "erased", "dpo", "consent withdrawn"),
    }
    (event,) = [event for event in registry.log.events("medical") if event.kind == "erase"]
    assert (event.version, event.who, event.why) == (1, "dpo", "consent withdrawn")
    assert event.data["paths"] == sorted([PREDICTIONS, "plots/rows.csv"])


def test_reading_says_who_erased_it_when_and_why(registry: Registry, tmp_path: Path) -> None:
    published = release(registry, tmp_path)
    registry.upkeep.erase(blob(registry, published), who="dpo", why="consent withdrawn")
    with pytest.raises(AbsentFile) as error:
        registry.read(published.digest, PREDICTIONS)
    day = registry.absences(published.digest)[PREDICTIONS].at[:10]
    assert f"was erased on {day} by dpo: consent withdrawn" in error.value.message
    # Its checkout goes on without it; the others' are whole.
    assert sorted(path.name for path in registry.checkout(published.digest, "plots").iterdir()) == [
        "loss.png"
    ]
    assert registry.checkout(published.digest, "servable").is_dir()


@pytest.mark.parametrize(
    "path", ["adapter/adapter_model.safetensors", "adapter/adapter_config.json", "fingerprint.json"]
)
def test_what_serving_needs_goes_with_the_release_only(
    registry: Registry, tmp_path: Path, path: str
) -> None:
    files = folder(tmp_path / "files")
    (files / "fingerprint.json").write_text("{}\n")
    published = registry.publish(files, draft(), who="ann")
    digest = blob(registry, published, path)
    with pytest.raises(Refused, match=f"`{path}` of `medical@1` is needed"):
        registry.upkeep.erase(digest, who="dpo", why="no more")
    assert registry.blobs.exists(digest)
    assert registry.upkeep.verify().problems == []
    assert registry.upkeep.verify().absent == []
    registry.delete("medical", 1, who="dpo")
    registry.upkeep.erase(digest, who="dpo", why="no more")
    assert not registry.blobs.exists(digest)


def test_a_file_that_is_needed_under_another_path_is_not_erased(
    registry: Registry, tmp_path: Path
) -> None:
    files = folder(tmp_path / "files")
    shutil.copy(files / WEIGHTS, files / "copy.bin")
    published = registry.publish(files, draft(), who="ann")
    with pytest.raises(Refused, match="is needed"):
        registry.upkeep.erase(blob(registry, published, "copy.bin"), who="dpo", why="x")


def test_every_release_that_shares_the_bytes_loses_them(registry: Registry, tmp_path: Path) -> None:
    one, two = release(registry, tmp_path, 1), release(registry, tmp_path, 2, name="other")
    three = release(registry, tmp_path, 3, text=b"somebody else\n")
    registry.delete("other", 1, who="ann")
    found = registry.upkeep.look_at_erasure(blob(registry, one))
    assert {(str(h), h.deleted) for h in found.holders} == {("medical@1", False), ("other@1", True)}
    registry.upkeep.erase(blob(registry, one), who="dpo", why="x")
    assert registry.read(three.digest, PREDICTIONS) == b"somebody else\n"
    assert [e.kind for e in registry.log.events("other", limit=1)] == ["erase"]
    assert two.digest


def test_erased_bytes_do_not_come_back(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = release(registry, tmp_path)
    digest = blob(registry, published)
    shutil.copytree(tmp_path / "blobs", tmp_path / "backup")
    registry.upkeep.erase(digest, who="dpo", why="x")
    put, stored = LocalBlobs.put, set()

    def remember(self: LocalBlobs, wanted: str, source: Path | bytes) -> None:
        stored.add(wanted)
        put(self, wanted, source)

    monkeypatch.setattr(LocalBlobs, "put", remember)
    again = release(registry, tmp_path)  # the same release, bytes and all
    assert (again.digest, again.created) == (published.digest, False)
    later = release(registry, tmp_path, 2)  # another that has the same file
    assert stored
    assert digest not in stored  # not for a moment
    assert not registry.blobs.exists(digest)
    assert registry.upkeep.verify(repair_from=LocalBlobs(tmp_path / "backup")).problems == []
    assert not registry.blobs.exists(digest)
    with pytest.raises(AbsentFile):
        registry.read(later.digest, PREDICTIONS)


def test_a_release_that_cannot_be_without_erased_bytes_is_refused(
    registry: Registry, tmp_path: Path
) -> None:
    published = release(registry, tmp_path)
    registry.upkeep.erase(blob(registry, published), who="dpo", why="x")
    files = folder(tmp_path / "next", 2)
    (files / WEIGHTS).write_bytes(TEXT)
    with pytest.raises(Refused, match=f"the bytes of `{WEIGHTS}` were erased"):
        registry.publish(files, draft(2), who="ann")
    assert len(registry.versions("medical")) == 1


def test_an_interrupted_erasure_is_a_fault_that_gc_mends(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = release(registry, tmp_path)
    registry.checkout(published.digest, "plots")
    digest = blob(registry, published)

    def killed(self: LocalBlobs, digest: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(LocalBlobs, "delete", killed)
        with pytest.raises(KeyboardInterrupt):
            registry.upkeep.erase(digest, who="dpo", why="x")
    assert registry.blobs.exists(digest)
    with pytest.raises(AbsentFile):  # not even now
        registry.read(published.digest, PREDICTIONS)
    assert {problem.kind for problem in registry.upkeep.verify().problems} == {"unerased"}
    report = registry.upkeep.gc()  # within the grace period of everything else
    assert [info.digest for info in report.blobs] == [digest]
    assert holding(tmp_path, b"Jane Roe") == []
    assert registry.upkeep.verify().problems == []


def test_erasing_again_goes_on_and_logs_nothing_more(registry: Registry, tmp_path: Path) -> None:
    published = release(registry, tmp_path)
    digest = blob(registry, published)
    assert registry.upkeep.look_at_erasure(digest).created is False
    registry.upkeep.erase(digest, who="dpo", why="x")
    left = registry.home / "builds" / "left.jsonl"
    left.parent.mkdir(parents=True)
    left.write_bytes(TEXT)
    done = registry.upkeep.erase(digest, who="dpo", why="y")
    assert (done.created, done.copies) == (False, (left,))
    assert len([e for e in registry.log.events("medical") if e.kind == "erase"]) == 1
    assert registry.absences(published.digest)[PREDICTIONS].why == "x"


def test_what_is_nobodys_cannot_be_erased(registry: Registry, tmp_path: Path) -> None:
    published = release(registry, tmp_path)
    for digest in (f"sha256:{'0' * 64}", published.digest):  # no record either
        with pytest.raises(NotFound, match="no release has a file"):
            registry.upkeep.erase(digest, who="dpo", why="x")


def test_a_lost_file_is_still_a_fault(registry: Registry, tmp_path: Path) -> None:
    """Only what was erased may be absent; a file that merely vanished is missing."""
    published = release(registry, tmp_path)
    assert isinstance(registry.blobs, LocalBlobs)
    registry.blobs.path(blob(registry, published)).unlink()
    assert {problem.kind for problem in registry.upkeep.verify().problems} == {"missing"}
    with pytest.raises(IntegrityError, match="is missing"):
        registry.read(published.digest, PREDICTIONS)


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM absences", "UPDATE absences SET why = 'nothing'", "DELETE FROM release_links"],
)
def test_the_database_refuses_to_forget(registry: Registry, tmp_path: Path, statement: str) -> None:
    published = release(registry, tmp_path)
    registry.publish(
        folder(tmp_path / "child", 5),
        draft(5, parents=({"relation": "start", "digest": published.digest},)),
        who="ann",
    )
    registry.upkeep.erase(blob(registry, published), who="dpo", why="x")
    refused = pytest.raises(sa.exc.DBAPIError, match=r"append-only|immutable")
    with refused, registry.database.write() as connection:
        connection.exec_driver_sql(statement)


def test_an_erasure_during_a_publish_has_the_last_word(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = release(registry, tmp_path)
    digest = blob(registry, published)
    put = LocalBlobs.put

    def erase_before(self: LocalBlobs, wanted: str, source: Path | bytes) -> None:
        if wanted == digest:
            monkeypatch.undo()
            registry.upkeep.erase(digest, who="dpo", why="x")
        put(self, wanted, source)

    monkeypatch.setattr(LocalBlobs, "put", erase_before)
    again = release(registry, tmp_path, 2)
    assert again.created
    assert not registry.blobs.exists(digest)
    assert registry.upkeep.verify().problems == []


def test_a_role_of_which_nothing_is_left_cannot_be_checked_out(
    local_registry: Registry, tmp_path: Path
) -> None:
    """Of one that is left in part, the rest can; an empty folder would pass for a whole one."""
    published = release(local_registry, tmp_path)
    local_registry.upkeep.erase(
        blob(local_registry, published, "plots/rows.csv"), who="dpo", why=""
    )
    folder = local_registry.checkout(published.digest, "plots")
    assert [path.name for path in folder.iterdir()] == ["loss.png"]
    local_registry.upkeep.erase(
        blob(local_registry, published, "plots/loss.png"), who="dpo", why=""
    )
    with pytest.raises(AbsentFile, match=r"`plots/loss\.png` of `medical@.*` was erased"):
        local_registry.checkout(published.digest, "plots")


def test_another_releases_record_is_not_erased_as_somebodys_file(
    registry: Registry, tmp_path: Path
) -> None:
    """A release, a pulled one say, can hold a copy of a record: it is one blob."""
    ours = release(registry, tmp_path)
    record = registry.release(ours.digest).to_bytes()
    copy = release(registry, tmp_path, 2, name="copy", text=record)
    digest = blob(registry, copy)
    assert digest == ours.digest
    with pytest.raises(Refused, match=r"are the record of `medical@1` too"):
        registry.upkeep.erase(digest, who="ann", why="no reason")
    assert registry.upkeep.verify().clean
    registry.delete("medical", 1, who="ann")
    assert registry.upkeep.erase(digest, who="ann", why="a reason").created
    files = folder(tmp_path / "again", 1)
    for path, text in (
        ("predictions.jsonl", TEXT),
        ("plots/rows.csv", TEXT),
        ("plots/loss.png", b"png"),
    ):
        (files / path).parent.mkdir(exist_ok=True)
        (files / path).write_bytes(text)
    with pytest.raises(Refused, match="the bytes of this record of `medical` were erased"):
        registry.publish(files, draft(1), who="ann")
    assert registry.upkeep.verify().clean


def test_equal_files_that_are_no_copies_stay(registry: Registry, tmp_path: Path) -> None:
    """A stranger's release may have a file that is equal to a base's, or to every empty one."""
    published = release(registry, tmp_path, text=b'{"model_type": "llama"}')
    empty = release(registry, tmp_path, 2, text=b"")
    config = registry.home / "bases" / "abc" / "config.json"
    lock = registry.home / "checkouts" / "locks" / "ab"
    for path, text in ((config, b'{"model_type": "llama"}'), (lock, b"")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    assert registry.upkeep.erase(blob(registry, published), who="ann", why="x").copies == ()
    with pytest.raises(InvalidInput, match="an empty file has no bytes"):
        registry.upkeep.erase(blob(registry, empty), who="ann", why="x")
    assert config.exists()
    assert lock.exists()


def test_each_release_is_told_of_its_own_files_and_gateways_look_again(
    registry: Registry, tmp_path: Path
) -> None:
    one, _ = release(registry, tmp_path, 1), release(registry, tmp_path, 2)
    before = registry.revision()
    registry.upkeep.erase(blob(registry, one), who="dpo", why="consent withdrawn")
    assert registry.revision() != before
    told = [event for event in registry.log.events("medical") if event.kind == "erase"]
    assert {event.version for event in told} == {1, 2}
    for event in told:
        assert sorted(event.data["paths"]) == ["plots/rows.csv", PREDICTIONS]
