"""Versions: contiguous, immutable, never reused; what is listed is complete."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from adapterworks.manifests.errors import Conflict, InvalidInput, NotFound
from adapterworks.registry.registry import Registry
from tests.registry.releases import draft, folder, publish


def test_versions_are_numbered_from_one_without_a_gap(registry: Registry, tmp_path: Path) -> None:
    published = [publish(registry, tmp_path, number) for number in range(1, 6)]
    assert [item.version for item in published] == [1, 2, 3, 4, 5]
    assert [row.version for row in registry.versions("medical")] == [5, 4, 3, 2, 1]
    assert registry.upkeep.verify().clean


def test_every_way_to_name_a_version_resolves_to_it(registry: Registry, tmp_path: Path) -> None:
    first = publish(registry, tmp_path, 1, alias="prod")
    second = publish(registry, tmp_path, 2, alias="candidate")
    assert registry.resolve("medical").digest == first.digest
    assert registry.resolve("medical:prod").version == 1
    assert registry.resolve("medical:candidate").digest == second.digest
    assert registry.resolve("medical@2").digest == second.digest
    assert registry.resolve(f"medical@{second.digest}").version == 2


@pytest.mark.parametrize(
    ("ref", "message", "hint"),
    [
        ("nobody", "there is no adapter `nobody`", "adapters list"),
        ("medical@9", "there is no version `medical@9`", "adapters list medical"),
        ("medical:qa", "`medical` has no alias `qa`", "adapters promote medical@1 qa"),
        (f"medical@sha256:{'0' * 64}", "there is no version", "adapters list medical"),
    ],
)
def test_what_is_not_there_is_said_with_a_way_on(
    registry: Registry, tmp_path: Path, ref: str, message: str, hint: str
) -> None:
    publish(registry, tmp_path)
    with pytest.raises(NotFound) as error:
        registry.resolve(ref)
    assert message in error.value.message
    assert hint in (error.value.hint or "")


def test_publishing_the_same_release_again_gives_the_same_version(
    registry: Registry, tmp_path: Path
) -> None:
    first = publish(registry, tmp_path, 1)
    before = registry.revision()
    again = publish(registry, tmp_path, 1)
    assert (again.version, again.digest, again.created) == (first.version, first.digest, False)
    assert registry.revision() == before
    assert len(registry.versions("medical")) == 1


def test_an_alias_given_to_publish_moves_with_the_version_or_not_at_all(
    registry: Registry, tmp_path: Path
) -> None:
    publish(registry, tmp_path, 1, alias="prod")
    publish(registry, tmp_path, 1, alias="prod")  # held already: no second move
    assert [move.version for move in registry.history("medical", "prod")] == [1]
    with pytest.raises(InvalidInput):
        publish(registry, tmp_path, 2, alias="7")
    assert [row.version for row in registry.versions("medical")] == [1]


def test_mlflow_3175_a_version_cannot_be_changed_even_by_sql(
    registry: Registry, tmp_path: Path
) -> None:
    publish(registry, tmp_path)
    for statement in (
        "UPDATE versions SET digest = 'sha256:other' WHERE version = 1",
        "UPDATE versions SET metrics = '{}'",
        "UPDATE versions SET version = 7",
        "DELETE FROM versions",
    ):
        with (
            pytest.raises(sa.exc.DBAPIError, match=r"immutable|never removed"),
            registry.database.write() as connection,
        ):
            connection.exec_driver_sql(statement)
    assert registry.upkeep.verify().clean


def test_ollama_records_in_place_a_stored_record_is_read_only_and_named_by_its_bytes(
    local_registry: Registry, tmp_path: Path
) -> None:
    published = publish(local_registry, tmp_path)
    digest = published.digest.removeprefix("sha256:")
    stored = tmp_path / "blobs" / "sha256" / digest[:2] / digest[2:]
    assert stored.stat().st_mode & 0o222 == 0
    assert local_registry.release(published.digest).digest == published.digest


def test_a_deleted_number_is_never_used_again(registry: Registry, tmp_path: Path) -> None:
    publish(registry, tmp_path, 1)
    second = publish(registry, tmp_path, 2)
    registry.delete("medical", 2, who="ann", why="leaked test rows")
    assert publish(registry, tmp_path, 3).version == 3
    for ref in ("medical@2", f"medical@{second.digest}"):
        with pytest.raises(NotFound, match=r"was deleted by ann at 20.*: leaked test rows"):
            registry.resolve(ref)
    with pytest.raises(NotFound, match="was deleted by ann"):
        registry.release(second.digest)
    assert [row.version for row in registry.versions("medical")] == [3, 1]
    tombstones = [row for row in registry.versions("medical", deleted=True) if row.deleted]
    assert [row.version for row in tombstones] == [2]
    assert registry.upkeep.verify().clean


def test_a_deleted_release_published_again_gets_a_new_number(
    registry: Registry, tmp_path: Path
) -> None:
    first = publish(registry, tmp_path, 1)
    registry.delete("medical", 1, who="ann")
    again = publish(registry, tmp_path, 1)
    assert (again.version, again.digest, again.created) == (2, first.digest, True)
    assert registry.resolve(f"medical@{first.digest}").version == 2
    assert registry.upkeep.verify().clean


def test_deleting_what_an_alias_holds_is_refused(registry: Registry, tmp_path: Path) -> None:
    publish(registry, tmp_path, 1, alias="prod")
    publish(registry, tmp_path, 2)
    registry.promote("medical", 2, "prod", who="ann", weight=10)
    for version in (1, 2):
        with pytest.raises(Conflict, match="`medical:prod` points to it"):
            registry.delete("medical", version, who="ann")
    with pytest.raises(NotFound):
        registry.delete("medical", 9, who="ann")


def test_listings_come_in_pages(registry: Registry, tmp_path: Path) -> None:
    for number in range(1, 8):
        publish(registry, tmp_path, number)
    made = {
        name: publish(registry, tmp_path, 9, name=name, alias="prod").digest
        for name in ("alpha", "beta", "gamma")
    }
    page = registry.versions("medical", limit=3)
    assert [row.version for row in page] == [7, 6, 5]
    assert [row.version for row in registry.versions("medical", limit=3, before=5)] == [4, 3, 2]
    names = registry.names(limit=2)
    assert [row.name for row in names] == ["alpha", "beta"]
    assert [[held.digest for held in row.aliases["prod"]] for row in names] == [
        [made["alpha"]], [made["beta"]],
    ]  # fmt: skip
    after = registry.names(limit=5, after="beta")
    assert [(row.name, row.latest, row.versions) for row in after] == [
        ("gamma", 1, 1),
        ("medical", 7, 7),
    ]
    assert after[0].aliases["prod"][0].weight == 100


def test_find_plan_finds_the_newest_live_version(registry: Registry, tmp_path: Path) -> None:
    plan = f"sha256:{'1' * 64}"
    assert registry.origins.find_plan("medical", plan) is None
    publish(registry, tmp_path, 1, plan=plan)
    publish(registry, tmp_path, 2, plan=plan)
    found = registry.origins.find_plan("medical", plan)
    assert found is not None
    assert found.version == 2
    registry.delete("medical", 2, who="ann")
    found = registry.origins.find_plan("medical", plan)
    assert found is not None
    assert found.version == 1
    assert registry.origins.find_plan("other", plan) is None
    # An index of before took a pulled record's plan as it claimed.
    registry.log.note("medical", 1, "pull", who="bob")
    assert registry.origins.find_plan("medical", plan) is None


def test_the_revision_changes_with_every_change_and_only_then(
    registry: Registry, tmp_path: Path
) -> None:
    seen = [registry.revision()]
    for change in (
        lambda: publish(registry, tmp_path, 1),
        lambda: publish(registry, tmp_path, 2),
        lambda: registry.promote("medical", 1, "prod", who="ann"),
        lambda: registry.promote("medical", 2, "prod", who="ann", weight=5),
        lambda: registry.rollback("medical", "prod", who="ann"),
        lambda: registry.delete("medical", 2, who="ann"),
    ):
        change()
        seen.append(registry.revision())
    assert seen == sorted(set(seen))
    registry.resolve("medical")
    registry.versions("medical")
    assert registry.revision() == seen[-1]


def test_only_plain_files_are_published(local_registry: Registry, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InvalidInput, match="has no files"):
        local_registry.publish(empty, draft(), who="ann")
    linked = folder(tmp_path / "linked")
    (linked / "secret").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInput, match="`secret` is not a regular file"):
        local_registry.publish(linked, draft(), who="ann")
    odd = folder(tmp_path / "odd")
    (odd / "a\nb").write_text("x")
    with pytest.raises(InvalidInput, match="not a path inside a release"):
        local_registry.publish(odd, draft(), who="ann")
    assert local_registry.names() == []


def test_the_log_says_who_when_and_why_and_cannot_be_changed(
    registry: Registry, tmp_path: Path
) -> None:
    publish(registry, tmp_path, 1, alias="prod")
    registry.log.note("medical", 1, "push", who="bob", why="release day", commit="abc")
    newest, *older = registry.log.events("medical")
    assert (newest.kind, newest.who, newest.why) == ("push", "bob", "release day")
    assert newest.data == {"commit": "abc"}
    assert [event.kind for event in older] == ["promote", "publish"]
    assert [event.kind for event in registry.log.events("medical", version=1, limit=1)] == ["push"]
    for statement in ("UPDATE log SET who = 'eve'", "DELETE FROM log"):
        with (
            pytest.raises(sa.exc.DBAPIError, match="append-only"),
            registry.database.write() as connection,
        ):
            connection.exec_driver_sql(statement)
