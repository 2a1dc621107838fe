"""A purged version's bytes are gone at once, but for what others need; who has some is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import Conflict, NotFound, Refused
from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.lifecycle import purge as purging
from adapterworks.registry.lifecycle.erase import erase
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Parent
from tests.registry.releases import draft, folder, publish

WEIGHTS = "servable/adapter_model.safetensors"
SECRET = '{"r": 8, "key": "s3"}'


def test_what_is_its_alone_goes_at_once_and_never_comes_back(
    registry: Registry, tmp_path: Path
) -> None:
    first, second = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    release = registry.release(first.digest)
    weights, card = release.files[WEIGHTS].digest, release.files["README.md"].digest
    checkout = registry.checkout(first.digest, "servable")
    copy = registry.home / "builds" / "medical-1" / "weights"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(registry.read(first.digest, WEIGHTS))
    done = registry.upkeep.purge("medical", 1, who="ann", why="consent withdrawn")
    assert weights in done.alone
    assert card not in done.alone
    assert "medical@2: README.md" in done.shared
    for digest in (weights, first.digest):
        assert not registry.blobs.exists(digest)
    assert not checkout.exists()
    assert not copy.exists()
    assert registry.read(second.digest, "README.md") == b"# medical\n"
    assert registry.upkeep.verify().clean
    with pytest.raises(NotFound, match=r"was deleted by ann .*: consent withdrawn"):
        registry.resolve("medical@1")
    with pytest.raises(Refused, match="consent withdrawn"):
        publish(registry, tmp_path, 1)
    report = registry.upkeep.gc(grace=0)
    assert report.blobs == []


def test_the_next_release_of_the_same_settings_is_published_with_the_files_that_say_them(
    registry: Registry, tmp_path: Path
) -> None:
    """Consent was withdrawn, and what remains is trained on: other weights, the same settings."""
    first = registry.release(publish(registry, tmp_path, 1).digest)
    config = first.files["servable/adapter_config.json"].digest
    building = registry.home / "builds" / "medical-2" / "train" / "adapter_config.json"
    building.parent.mkdir(parents=True)
    building.write_bytes(registry.read(first.digest, "servable/adapter_config.json"))
    done = registry.upkeep.purge("medical", 1, who="ann", why="consent withdrawn")
    assert config not in done.alone
    assert first.files[WEIGHTS].digest in done.alone
    assert building.exists()
    second = publish(registry, tmp_path, 2)
    assert registry.checkout(second.digest, "servable").joinpath("adapter_config.json").is_file()
    assert registry.upkeep.verify().clean


def test_what_an_earlier_versions_purge_forbade_is_allowed_again(
    database_url: str, tmp_path: Path
) -> None:
    """It erased the settings with the weights; who erased some alone, or wrote them, meant it."""
    where: dict[str, Any] = {"blobs": str(tmp_path / "blobs"), "home": tmp_path / "home"}
    with Registry.open(database=database_url, **where) as registry:
        home, database = registry.home, registry.database
        first = registry.release(publish(registry, tmp_path, 1).digest)
        config = first.files["servable/adapter_config.json"].digest
        meant = folder(tmp_path / "meant", 3)
        (meant / "servable" / "adapter_config.json").write_text(SECRET)
        other = registry.publish(meant, draft(3, name="other"), who="tester", why="")
        secret = registry.release(other.digest).files["servable/adapter_config.json"].digest
        registry.upkeep.purge("medical", 1, who="ann", why="consent withdrawn")
        registry.upkeep.purge("other", 1, who="ann", why="consent withdrawn")
        for blob, why in ((config, "consent withdrawn"), (secret, "a key was in it")):
            erase(database, registry.blobs, home, blob, who="ann", why=why)
        with database.write() as connection:
            before = sa.text("UPDATE schema_versions SET version = 7 WHERE namespace = 'registry'")
            connection.execute(before)
    with Registry.open(database=database_url, **where) as registry:
        second = publish(registry, tmp_path, 2)
        assert registry.checkout(second.digest, "servable").is_dir()
        assert registry.upkeep.verify().clean
        with pytest.raises(Refused, match="consent withdrawn"):
            publish(registry, tmp_path, 1)
        again = folder(tmp_path / "again", 4)
        (again / "servable" / "adapter_config.json").write_text(SECRET)
        with pytest.raises(Refused, match="a key was in it"):
            registry.publish(again, draft(4, name="other"), who="tester", why="")
        refused = pytest.raises(sa.exc.DBAPIError, match="append-only")
        with refused, registry.database.engine.begin() as connection:
            connection.execute(sa.text("DELETE FROM absences"))


def test_files_that_say_a_purged_releases_settings_go_with_the_next_gc(
    registry: Registry, tmp_path: Path
) -> None:
    config = registry.release(publish(registry, tmp_path, 1).digest).files[
        "servable/adapter_config.json"
    ]
    registry.upkeep.purge("medical", 1, who="ann", why="consent withdrawn")
    registry.upkeep.gc(grace=0)
    assert not registry.blobs.exists(config.digest)


def test_who_else_has_some_is_said(registry: Registry, tmp_path: Path) -> None:
    first = publish(registry, tmp_path, 1)
    parents = (Parent(relation="start", digest=first.digest),)
    publish(registry, tmp_path, 2, parents=parents)
    registry.log.note(
        "medical", 1, "push", who="ann", repository="org/x", endpoint="e", commit="c" * 40,
    )  # fmt: skip
    with registry.hold(first.digest, kind="serving"):
        found = registry.upkeep.look_at_purge("medical", 1)
    assert found.children == ("medical@2",)
    assert found.pushed == (f"org/x@{'c' * 40}",)
    assert [told.split(" by ")[0] for told in found.held] == ["serving"]
    sizes = {e.digest: e.size for e in registry.release(first.digest).files.values()}
    assert found.size == sum(sizes[blob] for blob in found.alone) > 0
    assert registry.upkeep.look_at_purge("medical", 1).held == ()
    assert registry.resolve("medical@1").digest == first.digest  # looking does nothing


def test_an_alias_keeps_it_unless_it_is_to_go(registry: Registry, tmp_path: Path) -> None:
    first = publish(registry, tmp_path, 1, alias="prod")
    with pytest.raises(Conflict, match="points to it"):
        registry.upkeep.purge("medical", 1, who="ann", why="leak")
    assert registry.blobs.exists(first.digest)
    registry.upkeep.purge("medical", 1, with_aliases=True, who="ann", why="leak")
    assert not registry.blobs.exists(first.digest)
    with pytest.raises(NotFound):
        registry.resolve("medical")


def test_again_it_finishes_what_was_interrupted(registry: Registry, tmp_path: Path) -> None:
    first = publish(registry, tmp_path, 1)
    weights = registry.release(first.digest).files[WEIGHTS].digest
    registry.delete("medical", 1, who="ann", why="leak")
    assert registry.blobs.exists(weights)
    registry.upkeep.purge("medical", 1, who="ann", why="leak")
    assert not registry.blobs.exists(weights)
    registry.upkeep.purge("medical", 1, who="ann", why="leak")
    assert registry.upkeep.verify().clean


def test_the_record_stays_while_another_name_has_the_same_bytes_under_it(
    registry: Registry, tmp_path: Path
) -> None:
    """Two names with the same files: nothing is the first one's alone but its record."""
    publish(registry, tmp_path, 1)
    other = registry.publish(folder(tmp_path / "o", 1), draft(1, name="other"), who="ann")
    done = registry.upkeep.purge("medical", 1, who="ann", why="leak")
    assert done.alone == ()
    assert any(told.startswith("other@1: ") for told in done.shared)
    assert registry.upkeep.verify("other@1").clean
    assert registry.read(other.digest, WEIGHTS)


def test_weights_that_are_purged_while_they_are_published_again_are_in_no_version(
    local_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another release has the same weights: it is refused, not listed without them."""
    registry = local_registry
    first = publish(registry, tmp_path, 1)
    weights = registry.release(first.digest).files[WEIGHTS].digest
    files = folder(tmp_path / "again", 2)
    (files / WEIGHTS).write_bytes(registry.read(first.digest, WEIGHTS))
    put = LocalBlobs.put

    def purge_after_the_record(self: LocalBlobs, digest: str, source: Path | bytes) -> None:
        put(self, digest, source)
        if isinstance(source, bytes):
            monkeypatch.undo()
            registry.upkeep.purge("medical", 1, who="ann", why="consent withdrawn")
            put(self, weights, files / WEIGHTS)  # as if its turn came only now

    monkeypatch.setattr(LocalBlobs, "put", purge_after_the_record)
    with pytest.raises(Refused, match=r"the bytes of .* were erased"):
        registry.publish(files, draft(2), who="ann")
    assert [version.version for version in registry.versions("medical")] == []
    assert not registry.blobs.exists(weights)
    assert registry.upkeep.verify().problems == []


def test_of_a_release_that_is_live_again_nothing_goes(registry: Registry, tmp_path: Path) -> None:
    """Purging the old number would take the live version's card and lock."""
    first = publish(registry, tmp_path, 1)
    registry.delete("medical", 1, who="ann", why="wrong alias")
    again = publish(registry, tmp_path, 1, alias="prod")
    assert (again.version, again.digest) == (2, first.digest)
    found = registry.upkeep.look_at_purge("medical", 1)
    assert (found.alone, found.size) == ((), 0)
    assert "medical@2: README.md" in found.shared
    with pytest.raises(Refused, match=r"`medical@2` is the very release .* nothing was erased"):
        registry.upkeep.purge("medical", 1, who="ann", why="consent withdrawn")
    report = registry.upkeep.verify()
    assert (report.clean, report.absent) == (True, [])


def test_a_record_that_another_release_has_as_a_file_stays(
    registry: Registry, tmp_path: Path
) -> None:
    first = publish(registry, tmp_path, 1)
    files = folder(tmp_path / "keeper", 2)
    (files / "parent.json").write_bytes(registry.release(first.digest).to_bytes())
    registry.publish(files, draft(2, name="keeper"), who="ann")
    done = registry.upkeep.purge("medical", 1, who="ann", why="leak")
    assert "keeper@1: parent.json" in done.shared
    assert registry.blobs.exists(first.digest)
    assert registry.upkeep.verify("keeper@1").clean


def test_what_went_live_after_it_was_looked_at_stays(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card could be erased: a live version can be served without it."""
    publish(registry, tmp_path, 1)
    look = purging.look
    files = folder(tmp_path / "late", 2)
    for role in ("adapter", "servable"):  # the card alone is the same
        (files / role / "adapter_config.json").write_text('{"r": 4}')

    def look_and_publish(connection: Connection, name: str, version: int) -> purging.Purge:
        monkeypatch.undo()
        found = look(connection, name, version)
        registry.publish(files, draft(2), who="bob")
        return found

    monkeypatch.setattr(purging, "look", look_and_publish)
    with pytest.raises(Refused, match=r"`README.md` of `medical@2`, which is live, has these"):
        registry.upkeep.purge("medical", 1, who="ann", why="leak")
    assert registry.upkeep.verify("medical@2").absent == []
    done = registry.upkeep.purge("medical", 1, who="ann", why="leak")
    assert "medical@2: README.md" in done.shared
    assert registry.upkeep.verify().clean


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"repository": 5, "commit": "c"},
        {"repository": "org/y", "commit": None},
        {"repository": ["org/y"], "commit": {"a": 1}},
    ],
)
def test_it_works_whatever_the_log_says_of_pushes(
    registry: Registry, tmp_path: Path, data: dict[str, Any]
) -> None:
    published = publish(registry, tmp_path, 1)
    registry.log.note("medical", 1, "push", who="eve", **data)
    registry.log.note("medical", 1, "push", who="ann", repository="org/x", commit="c")
    card = registry.release(published.digest).files["README.md"].digest
    assert registry.upkeep.look_at_erasure(card).pushed == ("org/x@c",)
    registry.upkeep.erase(card, who="ann", why="a name in it")
    done = registry.upkeep.purge("medical", 1, who="ann", why="leak")
    assert done.pushed == ("org/x@c",)
    assert not registry.blobs.exists(published.digest)


@pytest.mark.parametrize("withheld", [5, None, "README.md", {"README.md": 1}, [["README.md"], 5]])
def test_a_push_that_does_not_say_what_it_withheld_may_have_taken_all(
    local_registry: Registry, tmp_path: Path, withheld: Any
) -> None:
    published = publish(local_registry, tmp_path, 1)
    card = local_registry.release(published.digest).files["README.md"].digest
    for repository, paths in (("org/x", withheld), ("org/y", ["README.md"])):
        local_registry.log.note(
            "medical", 1, "push", who="eve", repository=repository, commit="c", withheld=paths
        )
    assert local_registry.upkeep.look_at_erasure(card).pushed == ("org/x@c",)


def test_reviews_of_its_answers_go_whatever_became_of_its_predictions(
    registry: Registry, tmp_path: Path
) -> None:
    first, second = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    for name, digest in (("round", first.digest), ("other", second.digest)):
        place = registry.home / "reviews" / name
        place.mkdir(parents=True)
        (place / "review.json").write_text(json.dumps({"against": {"digest": digest}}))
    done = registry.upkeep.purge("medical", 1, who="ann", why="consent withdrawn")
    assert done.reviews == ("round",)
    assert [path.name for path in (registry.home / "reviews").iterdir()] == ["other"]
