"""A release from elsewhere keeps its record; bytes that did not come are withheld, not missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapterworks.manifests.errors import IntegrityError, InvalidInput, NotFound, Refused
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.absence import AbsentFile
from adapterworks.registry.releases.record import read_record
from adapterworks.registry.releases.release import FileEntry, Release
from adapterworks.registry.remotes.leaving import pack
from adapterworks.registry.remotes.own import OwnRelease
from tests.registry.lifecycle.test_signing import make_key
from tests.registry.releases import draft, folder

PREDICTIONS = "predictions.jsonl"
WEIGHTS = "servable/adapter_model.safetensors"
PLAN, TRAIN = f"sha256:{'7' * 64}", f"sha256:{'8' * 64}"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Registry]:
    """Where the release was made."""
    where = tmp_path / "origin"
    with Registry.open(
        database=f"sqlite:///{where}/i.db", blobs=str(where / "blobs"), home=where
    ) as registry:
        yield registry


@pytest.fixture
def sent(home: Registry, tmp_path: Path) -> tuple[Release, Path]:
    """A release made at home, and its folder without the predictions."""
    files = folder(tmp_path / "files")
    (files / PREDICTIONS).write_text("Jane Roe\n")
    digests = {"train": TRAIN}
    made = home.publish(files, draft(plan=PLAN, digests=digests), who="ann")
    (files / PREDICTIONS).unlink()
    return read_record(home.release(made.digest).to_bytes()), files


def test_a_withheld_file_is_named_and_the_release_verifies_with_its_signature(
    home: Registry, registry: Registry, sent: tuple[Release, Path], tmp_path: Path
) -> None:
    release, files = sent
    private, public = make_key(tmp_path, "ours")
    home.signatures.sign(release.digest, private, who="ann")
    published = registry.adopt(
        files, release, withheld={PREDICTIONS: "not sent by ann"}, who="bob", why="pulled"
    )
    registry.signatures.receive(release.digest, home.signatures.own(release.digest), who="bob")
    assert published.digest == release.digest
    report = registry.upkeep.verify(public_keys=[public])
    assert report.problems == []
    assert [(a.ref, a.path, a.state, a.why) for a in report.absent] == [
        ("medical@1", PREDICTIONS, "withheld", "not sent by ann")
    ]
    with pytest.raises(AbsentFile, match="is withheld: not sent by ann"):
        registry.read(release.digest, PREDICTIONS)
    assert registry.checkout(release.digest, "servable").is_dir()
    assert not any(info.digest != "" for info in registry.upkeep.gc(grace=0).blobs)
    assert registry.diff("medical@1", "medical@1").same


def test_bytes_that_vanish_without_being_withheld_are_missing(
    registry: Registry, sent: tuple[Release, Path]
) -> None:
    release, files = sent
    registry.adopt(files, release, withheld={PREDICTIONS: "x"}, who="bob")
    registry.blobs.delete(release.files["README.md"].digest)
    assert [(p.kind, p.path) for p in registry.upkeep.verify().problems] == [
        ("missing", "README.md")
    ]


def test_a_withheld_file_that_comes_later_is_read(
    registry: Registry, sent: tuple[Release, Path]
) -> None:
    release, files = sent
    registry.adopt(files, release, withheld={PREDICTIONS: "x"}, who="bob")
    registry.blobs.put(release.files[PREDICTIONS].digest, b"Jane Roe\n")
    assert registry.read(release.digest, PREDICTIONS) == b"Jane Roe\n"
    assert registry.upkeep.verify().absent == []


def test_what_one_release_lacks_another_does_not_get_away_with(
    registry: Registry, sent: tuple[Release, Path], tmp_path: Path
) -> None:
    """Withheld is said of one release: our own with the same file still has to have it."""
    release, files = sent
    registry.adopt(files, release, withheld={PREDICTIONS: "x"}, who="bob")
    shutil.copytree(files, tmp_path / "own")
    (tmp_path / "own" / PREDICTIONS).write_text("Jane Roe\n")
    registry.publish(tmp_path / "own", draft(2, name="own"), who="bob")
    registry.blobs.delete(release.files[PREDICTIONS].digest)
    report = registry.upkeep.verify()
    assert [(p.kind, p.ref) for p in report.problems] == [("missing", "own@1")]
    assert [a.ref for a in report.absent] == ["medical@1"]


def test_what_is_neither_sent_nor_withheld_is_refused(
    registry: Registry, sent: tuple[Release, Path]
) -> None:
    release, files = sent
    with pytest.raises(IntegrityError, match=r"`predictions\.jsonl` of `medical` is not there"):
        registry.adopt(files, release, who="bob")
    (files / PREDICTIONS).write_text("something else\n")
    with pytest.raises(IntegrityError, match=r"`predictions\.jsonl` is not what the record"):
        registry.adopt(files, release, who="bob")
    (files / PREDICTIONS).unlink()
    (files / "more.txt").write_text("x")
    with pytest.raises(IntegrityError, match=r"`more\.txt` is not what the record"):
        registry.adopt(files, release, withheld={PREDICTIONS: "x"}, who="bob")
    assert registry.names() == []


@pytest.mark.parametrize("path", [WEIGHTS, "adapter/adapter_config.json"])
def test_weights_are_never_withheld(
    registry: Registry, sent: tuple[Release, Path], path: str
) -> None:
    release, files = sent
    (files / path).unlink()
    with pytest.raises(InvalidInput, match="no release is without"):
        registry.adopt(files, release, withheld={PREDICTIONS: "x", path: "x"}, who="bob")


def test_a_claimed_plan_spares_no_build_here(
    home: Registry, registry: Registry, sent: tuple[Release, Path]
) -> None:
    """Anybody may write our plan's digest into a record of his."""
    release, files = sent
    assert str(home.origins.find_plan("medical", PLAN)) == "medical@1"
    assert [str(found) for found in home.origins.find_stages("train", TRAIN)] == ["medical@1"]
    assert home.origins.find_stages("publish", TRAIN) == []
    registry.adopt(files, release, withheld={PREDICTIONS: "x"}, who="bob")
    assert registry.origins.find_plan("medical", PLAN) is None
    assert registry.origins.find_stages("train", TRAIN) == []
    assert registry.release(release.digest).plan == PLAN  # it is still what the record says


def test_bytes_erased_here_are_not_taken_from_elsewhere(
    registry: Registry, sent: tuple[Release, Path], tmp_path: Path
) -> None:
    release, files = sent
    own = folder(tmp_path / "own", 9)
    (own / PREDICTIONS).write_text("Jane Roe\n")
    registry.publish(own, draft(9, name="own"), who="bob")
    registry.upkeep.erase(release.files[PREDICTIONS].digest, who="dpo", why="x")
    (files / PREDICTIONS).write_text("Jane Roe\n")
    registry.adopt(files, release, who="bob")
    assert not registry.blobs.exists(release.files[PREDICTIONS].digest)
    assert registry.upkeep.verify().problems == []
    with pytest.raises(Refused):
        registry.upkeep.erase(release.files[WEIGHTS].digest, who="dpo", why="x")


def test_publishing_refuses_a_policy_that_means_weights(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="`withhold` means `adapter/"):
        registry.publish(folder(tmp_path / "f"), draft(withhold=("*",)), who="ann")
    with pytest.raises(NotFound):
        registry.resolve("medical")


def test_erasure_says_more_than_having_been_withheld(
    registry: Registry, sent: tuple[Release, Path]
) -> None:
    release, files = sent
    registry.adopt(files, release, withheld={PREDICTIONS: "not sent"}, who="bob")
    registry.upkeep.erase(release.files[PREDICTIONS].digest, who="dpo", why="withdrawn")
    assert registry.absences(release.digest)[PREDICTIONS].state == "erased"
    assert [(a.state, a.why) for a in registry.upkeep.verify().absent] == [("erased", "withdrawn")]


def test_bytes_that_are_here_already_are_read_and_are_not_its_own(
    registry: Registry, sent: tuple[Release, Path], tmp_path: Path
) -> None:
    """They did not come with it: whoever loses them has lost them of the release that had them."""
    release, files = sent
    own = folder(tmp_path / "own", 9)
    (own / PREDICTIONS).write_text("Jane Roe\n")
    registry.publish(own, draft(9, name="own"), who="bob")
    registry.adopt(files, release, withheld={PREDICTIONS: "x"}, who="bob")
    assert registry.absences(release.digest)[PREDICTIONS].state == "withheld"
    assert registry.read(release.digest, PREDICTIONS) == b"Jane Roe\n"
    registry.blobs.delete(release.files[PREDICTIONS].digest)
    report = registry.upkeep.verify()
    assert [problem.ref for problem in report.problems] == ["own@1"]
    assert [absent.ref for absent in report.absent] == ["medical@1"]


@pytest.fixture
def claims(sent: tuple[Release, Path]) -> tuple[Release, Path]:
    """A stranger's release: he has read our public record, and names a file that stayed here as a
    harmless one of his own, which his repository lacks."""
    release, files = sent
    entries = {path: entry for path, entry in release.files.items() if path != PREDICTIONS}
    stolen = release.files[PREDICTIONS]
    entries["notes.md"] = FileEntry.at("notes.md", digest=stolen.digest, size=1)
    return Release.from_draft(release.to_draft(name="nice"), entries), files


def test_a_strangers_record_takes_no_private_file_along_when_it_is_pushed_or_copied_on(
    registry: Registry, claims: tuple[Release, Path], tmp_path: Path
) -> None:
    release, files = claims
    own = folder(tmp_path / "own", 9)
    (own / PREDICTIONS).write_text("Jane Roe\n")
    registry.publish(own, draft(9, name="own"), who="bob")
    registry.adopt(files, release, withheld={"notes.md": "not sent by him"}, who="bob")
    assert registry.blobs.exists(release.files["notes.md"].digest)
    resolved = registry.resolve("nice@1")
    assert "notes.md" not in pack(registry, resolved, include=["*"]).sent
    held = OwnRelease(registry, resolved)
    assert held.size(release.files["notes.md"].digest) is None
    assert held.stated()["notes.md"].startswith("withheld")


def test_a_digest_in_a_strangers_record_opens_nothing_and_says_no_size(
    registry: Registry, claims: tuple[Release, Path], tmp_path: Path
) -> None:
    release, files = claims
    stolen = release.files["notes.md"].digest
    registry.require_own_store()
    registry.blobs.put(stolen, b"Jane Roe\n")  # rows of a dataset, a tenant's file
    registry.adopt(files, release, withheld={"notes.md": "not sent by him"}, who="bob")
    with pytest.raises(NotFound, match="no release has a file"):
        registry.size_of_blob(stolen)
    own = folder(tmp_path / "own", 9)
    (own / PREDICTIONS).write_text("Jane Roe\n")
    registry.publish(own, draft(9, name="own"), who="bob")
    assert registry.size_of_blob(stolen) == len("Jane Roe\n")


def test_only_files_of_the_release_are_withheld_and_none_outside_it(
    registry: Registry, sent: tuple[Release, Path]
) -> None:
    release, files = sent
    with pytest.raises(IntegrityError, match="has no file `other` that could be withheld"):
        registry.adopt(files, release, withheld={PREDICTIONS: "x", "other": "x"}, who="bob")
    entry = release.files[PREDICTIONS]
    outside = Release.from_draft(release.to_draft(), {**release.files, "../x": entry})
    with pytest.raises(InvalidInput, match="is not a path inside a release"):
        registry.adopt(files, outside, withheld={PREDICTIONS: "x", "../x": "x"}, who="bob")
