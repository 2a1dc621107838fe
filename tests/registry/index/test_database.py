"""Migrations: from blank, from every earlier schema, by several processes at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from adapterworks.manifests.errors import InvalidInput, Unavailable
from adapterworks.registry.index import migrations, schema
from adapterworks.registry.index.database import Database
from adapterworks.registry.registry import Registry
from tests.forked import CONTEXT
from tests.registry.releases import publish


@pytest.mark.parametrize("earlier", range(len(migrations.MIGRATIONS) + 1))
def test_every_earlier_schema_migrates_to_the_newest(
    database_url: str, tmp_path: Path, earlier: int
) -> None:
    database = Database(database_url)
    database.migrate(migrations.NAMESPACE, migrations.MIGRATIONS[:earlier])
    database.migrate(migrations.NAMESPACE, migrations.MIGRATIONS)
    assert shape(database) == expected_shape()
    database.close()
    registry = Registry.open(database=database_url, blobs=str(tmp_path / "b"), home=tmp_path / "h")
    publish(registry, tmp_path, alias="prod")
    assert registry.upkeep.verify().clean
    registry.close()


def test_rows_survive_migration(database_url: str) -> None:
    database = Database(database_url)
    database.migrate(migrations.NAMESPACE, migrations.MIGRATIONS[:1])
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO names VALUES ('medical', 0, 0, 'then')")
    database.migrate(migrations.NAMESPACE, migrations.MIGRATIONS)
    with database.read() as connection:
        assert connection.execute(sa.select(schema.names)).one().updated == "then"
    database.close()


def test_a_failed_migration_changes_nothing(database_url: str) -> None:
    def half(connection: sa.Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE half (x INTEGER)")
        connection.exec_driver_sql("CREATE TABLE half (x INTEGER)")

    database = Database(database_url)
    database.migrate(migrations.NAMESPACE, migrations.MIGRATIONS[:1])
    before = shape(database)
    with pytest.raises((sa.exc.DBAPIError, Unavailable), match="already exists"):
        database.migrate(migrations.NAMESPACE, [*migrations.MIGRATIONS[:1], half])
    assert shape(database) == before
    database.migrate(migrations.NAMESPACE, migrations.MIGRATIONS)
    database.close()


def test_a_newer_database_is_refused(database_url: str, tmp_path: Path) -> None:
    database = Database(database_url)
    newer = [*migrations.MIGRATIONS, lambda connection: None]
    database.migrate(migrations.NAMESPACE, newer)
    database.close()
    with pytest.raises(Unavailable, match="this program knows") as error:
        Registry.open(database=database_url, blobs=str(tmp_path / "b"), home=tmp_path / "h")
    assert error.value.hint == "upgrade adapterworks"


def test_namespaces_migrate_independently(database_url: str) -> None:
    database = Database(database_url)
    database.migrate(
        "other", [lambda c: c.exec_driver_sql("CREATE TABLE other (x INTEGER)") and None]
    )
    database.migrate(migrations.NAMESPACE, migrations.MIGRATIONS)
    assert "other" in shape(database)
    database.close()


def test_several_processes_may_migrate_at_once(database_url: str, tmp_path: Path) -> None:
    barrier = CONTEXT.Barrier(4)
    workers = [
        CONTEXT.Process(target=_open, args=(database_url, str(tmp_path), barrier)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 4
    database = Database(database_url)
    assert shape(database) == expected_shape()
    database.close()


def test_databases_of_other_kinds_and_unreachable_ones_are_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="`mysql` databases are not supported"):
        Database("mysql://host/name")
    with pytest.raises(InvalidInput, match="is not a database URL"):
        Database("index.db")
    unreachable = Database("postgresql://user:hunter2@127.0.0.1:1/name")
    with pytest.raises(Unavailable, match=r"the index on `127\.0\.0\.1` cannot be used") as error:
        unreachable.migrate(migrations.NAMESPACE, migrations.MIGRATIONS)
    assert "hunter2" not in error.value.message
    assert "refused Is the server running on that host" in error.value.message  # in one line
    with pytest.raises(Unavailable, match="the index cannot be used"):
        Database(f"sqlite:///{tmp_path}/no/such/folder/i.db").migrate("registry", [])


def test_sqlite_syncs_what_is_committed_and_waits_for_its_turn(tmp_path: Path) -> None:
    """No test can cut the power: the settings that make a commit last are looked at instead."""
    database = Database(f"sqlite:///{tmp_path / 'index.db'}")
    expected = {"synchronous": 2, "journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 60_000}
    for access in (database.read, database.write):
        with access() as connection:
            found = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in expected
            }
        assert found == expected
    database.close()


def test_a_write_holds_the_lock_from_its_start_and_a_read_does_not(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'index.db'}"
    database, impatient = Database(url), Database(url + "?timeout=0")
    database.migrate(migrations.NAMESPACE, migrations.MIGRATIONS)
    with impatient.engine.connect() as other:
        other.exec_driver_sql("PRAGMA busy_timeout = 0")
        other.rollback()
        with database.write():
            assert other.exec_driver_sql("SELECT count(*) FROM names").scalar() == 0
            with pytest.raises(sa.exc.OperationalError, match="locked"):
                other.exec_driver_sql("INSERT INTO names VALUES ('a', 0, 0, 'now')")
            other.rollback()
        with database.read():
            other.exec_driver_sql("INSERT INTO names VALUES ('a', 0, 0, 'now')")
            other.rollback()
    database.close()
    impatient.close()


def _open(url: str, folder: str, barrier: object) -> None:
    barrier.wait(60)  # type: ignore[attr-defined]
    Registry.open(database=url, blobs=folder + "/b", home=Path(folder, "h")).close()


def shape(database: Database) -> dict[str, set[str]]:
    """Table → columns, as the database says."""
    with database.read() as connection:
        inspector = sa.inspect(connection)
        return {
            table: {column["name"] for column in inspector.get_columns(table)}
            for table in inspector.get_table_names()
        }


def expected_shape() -> dict[str, set[str]]:
    """Table → columns, as the code says."""
    tables = {table.name: set(table.columns.keys()) for table in schema.metadata.sorted_tables}
    return tables | {"schema_versions": {"namespace", "version"}}


def test_a_home_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be made"):
        Registry.open(
            database=f"sqlite:///{tmp_path / 'index.db'}",
            blobs=str(tmp_path / "blobs"),
            home=tmp_path / "file" / "home",
        )
