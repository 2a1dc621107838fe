"""Verification finds every kind of damage, names it, and repairs it from another store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import IntegrityError
from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.index import absences, schema
from adapterworks.registry.lifecycle.verify import Problem, Verifier, live_versions
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Parent
from tests.registry.keys import make_key
from tests.registry.owner import as_owner
from tests.registry.releases import publish

WEIGHTS = "servable/adapter_model.safetensors"


def blob_path(registry: Registry, digest: str, path: str | None) -> Path:
    assert isinstance(registry.blobs, LocalBlobs)
    if path is None:
        return registry.blobs.path(digest)
    return registry.blobs.path(registry.release(digest).files[path].digest)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def problems(registry: Registry) -> list[tuple[str, str, str | None]]:
    return [(item.kind, item.ref, item.path) for item in registry.upkeep.verify().problems]


def test_a_flipped_bit_names_the_file_the_release_and_the_repair(
    registry: Registry, tmp_path: Path
) -> None:
    publish(registry, tmp_path, 1)
    published = publish(registry, tmp_path, 2)
    path = blob_path(registry, published.digest, WEIGHTS)
    flip(path)
    for read in (
        lambda: registry.read(published.digest, WEIGHTS),
        lambda: registry.checkout(published.digest, "servable"),
    ):
        with pytest.raises(IntegrityError) as error:
            read()
        assert WEIGHTS in error.value.message
        assert f"medical@{published.digest}" in error.value.message
        assert str(path) in error.value.message
        assert "adapters verify" in (error.value.hint or "")
        assert "--repair" in (error.value.hint or "")
    assert not list((tmp_path / "home" / "checkouts").glob("*/servable"))
    # The adapter's own file has the same bytes, so it is the same blob and damaged too.
    assert problems(registry) == [
        ("corrupt", "medical@2", "adapter/adapter_model.safetensors"),
        ("corrupt", "medical@2", WEIGHTS),
    ]


def test_a_missing_file_and_a_damaged_record_are_found(registry: Registry, tmp_path: Path) -> None:
    first, second = publish(registry, tmp_path, 1), publish(registry, tmp_path, 2)
    blob_path(registry, first.digest, "adapter.lock").unlink()
    flip(blob_path(registry, second.digest, None))
    assert problems(registry) == [
        ("missing", "medical@1", "adapter.lock"),
        ("corrupt", "medical@2", "(record)"),
    ]
    with pytest.raises(IntegrityError, match=f"record of release {second.digest} is damaged"):
        registry.release(second.digest)


def test_repair_takes_good_bytes_from_another_store_only(
    registry: Registry, tmp_path: Path
) -> None:
    published = publish(registry, tmp_path)
    shutil.copytree(tmp_path / "blobs", tmp_path / "backup")
    backup = LocalBlobs(tmp_path / "backup")
    lock = blob_path(registry, published.digest, "adapter.lock")
    readme = blob_path(registry, published.digest, "README.md")
    lock.unlink()
    flip(readme)
    flip(backup.path(registry.release(published.digest).files["README.md"].digest))
    report = registry.upkeep.verify("medical@1", repair_from=backup)
    by_path: dict[str | None, Problem] = {item.path: item for item in report.problems}
    assert by_path["adapter.lock"].repaired
    assert not by_path["README.md"].repaired
    assert "cannot repair it" in by_path["README.md"].message
    assert not by_path["README.md"].message.startswith(";")  # what was found comes first
    assert not report.clean
    flip(backup.path(registry.release(published.digest).files["README.md"].digest))  # back again
    assert registry.upkeep.verify("medical@1", repair_from=backup).clean
    assert registry.upkeep.verify().problems == []


def test_a_repair_is_looked_at_itself(
    local_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that does not keep what it is given is not repaired by being given it."""
    published = publish(local_registry, tmp_path)
    shutil.copytree(tmp_path / "blobs", tmp_path / "backup")
    blob_path(local_registry, published.digest, "adapter.lock").unlink()
    monkeypatch.setattr(LocalBlobs, "put", lambda *_: None)
    report = local_registry.upkeep.verify("medical@1", repair_from=LocalBlobs(tmp_path / "backup"))
    assert [(item.path, item.repaired) for item in report.problems] == [("adapter.lock", False)]
    assert not report.clean


@pytest.mark.parametrize(
    ("statement", "kind", "message"),
    [
        ("UPDATE names SET last_version = 5", "index", "without a gap"),
        ("UPDATE names SET live = 7", "index", "without a gap"),
        ("UPDATE aliases SET version = 2", "index", "not where its last logged move put it"),
        ("UPDATE version_tags SET present = 1", "index", "its tags are not those that the log"),
        ("UPDATE version_tags SET tag = 'x'", "index", "its tags are not those that the log"),
        ("UPDATE release_blobs SET size = 1 WHERE path = 'README.md'", "record", "do not say"),
        ("DELETE FROM release_blobs WHERE path = 'README.md'", "record", "do not say the same"),
    ],
)
def test_an_index_that_was_tampered_with_is_found(
    registry: Registry, tmp_path: Path, statement: str, kind: str, message: str
) -> None:
    publish(registry, tmp_path, 1, alias="prod")
    publish(registry, tmp_path, 2)
    registry.tag("medical", 1, remove=["icd"], who="ann")
    assert registry.upkeep.verify().clean
    with registry.database.write() as connection:
        connection.exec_driver_sql(statement)
    report = registry.upkeep.verify()
    assert not report.clean
    found = report.problems
    assert {item.kind for item in found} == {kind}
    assert all(message in item.message for item in found)


def test_a_version_that_has_another_names_record_is_found(
    local_registry: Registry, tmp_path: Path
) -> None:
    """`stolen@1` claims the bytes of `medical@2`, which was deleted: every other row is right."""
    for number in (1, 2):
        publish(local_registry, tmp_path, number)
    local_registry.delete("medical", 2, who="ann")
    with local_registry.database.write() as connection:
        connection.exec_driver_sql("INSERT INTO names VALUES ('stolen', 1, 1, 'now')")
        columns = [column.name for column in schema.versions.columns]
        changed = {"name": "'stolen'", "version": "1", "deleted": "NULL"}
        said = [changed.get(column, column) for column in columns]
        connection.exec_driver_sql(
            f"INSERT INTO versions ({', '.join(columns)}) "
            f"SELECT {', '.join(said)} FROM versions WHERE version = 2"
        )
    problem, unlogged = local_registry.upkeep.verify().problems
    assert "the log does not say" in unlogged.message
    assert (problem.kind, problem.ref) == ("record", "stolen@1")
    assert problem.message == "the record and the index do not say the same"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("metrics", '{"exact_match": 0.999}'),
        ("tags", '["approved"]'),
        ("method", "full"),
        ("base_digest", "sha256:0"),
        ("created_by", "somebody else"),
        ("plan", "sha256:0"),
    ],
)
def test_every_column_of_a_version_is_what_its_record_says(
    local_registry: Registry, tmp_path: Path, column: str, value: str
) -> None:
    publish(local_registry, tmp_path, 1)
    assert local_registry.upkeep.verify().clean
    with local_registry.database.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER versions_no_update")
        connection.exec_driver_sql(f"UPDATE versions SET {column} = '{value}'")
    (problem,) = local_registry.upkeep.verify().problems
    assert problem.kind == "record"
    assert f"the index says another {column} than the record" in problem.message


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE versions SET published = '2020-01-01' WHERE version = 1", "of its publication"),
        ("UPDATE versions SET deleted = '2020-01-01' WHERE version = 2", "of its deletion"),
        ("UPDATE release_links SET target = 'sha256:0' WHERE kind = 'digest'", "links it to what"),
        ("DELETE FROM release_links WHERE kind = 'parent'", "links it to what"),
        ("UPDATE signatures SET bundle = '{}'", "its signature by key"),
        ("UPDATE signatures SET key = 'sha256:0000000'", "its signature by key 0000000 is not"),
        ("INSERT INTO absences VALUES ('sha256:1', '', 'erased', 'now', 'eve', '')", "erased"),
    ],
)
def test_what_an_owner_changes_beside_the_record_is_named(
    local_registry: Registry, tmp_path: Path, statement: str, message: str
) -> None:
    parents = (Parent(relation="start", digest="sha256:" + "1" * 64),)
    first = publish(
        local_registry, tmp_path, 1, parents=parents, digests={"train": "sha256:" + "2" * 64}
    )
    publish(local_registry, tmp_path, 2)
    local_registry.delete("medical", 2, who="ann")
    local_registry.signatures.sign(first.digest, make_key(tmp_path, "ours")[0], who="ann")
    assert local_registry.upkeep.verify().clean
    as_owner(local_registry, lambda connection: connection.exec_driver_sql(statement))
    (problem,) = local_registry.upkeep.verify().problems
    assert message in problem.message
    assert problem.ref in ("medical@1", "medical@2", "sha256:1")


def test_history_cannot_be_replaced_or_emptied(registry: Registry, tmp_path: Path) -> None:
    """INSERT OR REPLACE fires no DELETE trigger on SQLite, TRUNCATE no row trigger elsewhere."""
    publish(registry, tmp_path, 1)
    if registry.database.is_sqlite:
        statements = [
            "INSERT OR REPLACE INTO log SELECT sequence, name, kind, version, alias, at, "
            "'somebody-else', why, data, chain FROM log",
            "INSERT OR REPLACE INTO versions SELECT * FROM versions",
        ]
    else:
        statements = ["TRUNCATE log", "TRUNCATE versions CASCADE", "TRUNCATE absences"]
    for statement in statements:
        refused = pytest.raises(sa.exc.DBAPIError, match="append-only")
        with refused, registry.database.write() as connection:
            connection.exec_driver_sql(statement)
    assert len(registry.log.events("medical")) == 1
    assert registry.upkeep.verify().clean


def test_what_was_verified_is_counted(registry: Registry, tmp_path: Path) -> None:
    published = publish(registry, tmp_path)
    report = registry.upkeep.verify()
    release = registry.release(published.digest)
    blobs = {entry.digest: entry.size for entry in release.files.values()}
    assert (report.releases, report.blobs) == (1, len(blobs) + 1)
    assert report.bytes == sum(blobs.values()) + len(release.to_bytes())


def test_a_version_that_is_purged_while_others_are_verified_is_no_fault(
    registry: Registry, tmp_path: Path
) -> None:
    """A page of versions takes hours; what went meanwhile is not put back by the repair."""
    published = publish(registry, tmp_path)
    shutil.copytree(tmp_path / "blobs", tmp_path / "backup")
    backup = LocalBlobs(tmp_path / "backup")
    verifier = Verifier(registry.database, registry.blobs, repair_from=backup)
    (listed,) = live_versions(registry.database)
    weights = registry.release(published.digest).files[WEIGHTS].digest
    registry.upkeep.purge("medical", 1, who="ann", why="asked to")
    assert not registry.blobs.exists(weights)
    verifier.verify(listed)
    assert verifier.report.problems == []
    assert not registry.blobs.exists(weights)


def test_no_repair_brings_erased_bytes_back(registry: Registry, tmp_path: Path) -> None:
    """Not even those that the live release that lacks them needs."""
    published = publish(registry, tmp_path)
    shutil.copytree(tmp_path / "blobs", tmp_path / "backup")
    weights = registry.release(published.digest).files[WEIGHTS].digest
    with registry.database.write() as connection:
        absences.erase(connection, weights, who="ann", why="asked to")
    registry.blobs.delete(weights)
    report = registry.upkeep.verify(repair_from=LocalBlobs(tmp_path / "backup"))
    (problem,) = (p for p in report.problems if p.path == WEIGHTS)
    assert not problem.repaired
    assert "does not come back" in problem.message
    assert not registry.blobs.exists(weights)


def test_a_publish_in_the_midst_of_a_verification_is_no_fault(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(registry, tmp_path, 1)

    def counted(connection: Connection) -> Iterator[tuple[str, str]]:
        before = connection.scalar(sa.select(sa.func.count()).select_from(schema.log))
        publish(registry, tmp_path, 2)
        if connection.scalar(sa.select(sa.func.count()).select_from(schema.log)) != before:
            yield "medical", "the tables are not of one moment"

    monkeypatch.setattr("adapterworks.registry.lifecycle.verify.index_problems", counted)
    assert registry.upkeep.verify().problems == []
