"""Programs of two versions on one index, as while gateways are replaced one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from adapterworks.gateway.storage import migrations as gateway
from adapterworks.gateway.storage import webhooks
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.datasets import schema as datasets
from adapterworks.registry.exchanges import schema as exchanges
from adapterworks.registry.index import migrations
from adapterworks.registry.index.database import Database
from adapterworks.registry.index.migrating import Migration, expands, oldest
from adapterworks.registry.jobs import schema as jobs
from adapterworks.registry.registry import Registry
from tests.registry.releases import publish

ALL: dict[str, Sequence[Migration]] = {
    one.NAMESPACE: one.MIGRATIONS
    for one in (migrations, gateway, webhooks, datasets, exchanges, jobs)
}


@expands
def adds(connection: sa.Connection) -> None:
    """A column that may be left out."""
    connection.exec_driver_sql("ALTER TABLE names ADD COLUMN motto TEXT")


def changes(connection: sa.Connection) -> None:
    """A column that has to be said."""
    connection.exec_driver_sql("ALTER TABLE names ADD COLUMN rank TEXT NOT NULL DEFAULT ''")


def test_an_older_program_goes_on_where_only_something_was_added(
    database_url: str, tmp_path: Path
) -> None:
    """One that runs, and one that is started again meanwhile."""
    where: dict[str, Any] = {"blobs": str(tmp_path / "b"), "home": tmp_path / "h"}
    running = Registry.open(database=database_url, **where)
    newer = Database(database_url)
    newer.migrate(migrations.NAMESPACE, [*migrations.MIGRATIONS, adds])
    publish(running, tmp_path, alias="prod")
    running.close()
    again = Registry.open(database=database_url, **where)
    assert again.upkeep.verify().clean
    again.close()
    newer.migrate(migrations.NAMESPACE, [*migrations.MIGRATIONS, adds])  # and changes nothing back
    with newer.read() as connection:
        assert connection.exec_driver_sql("SELECT motto FROM names").scalars().all() == [None]
    newer.close()


@pytest.mark.parametrize("later", [[changes], [changes, adds], [adds, changes]])
def test_an_older_program_is_shut_out_where_something_was_changed(
    database_url: str, later: list[Migration]
) -> None:
    known = migrations.MIGRATIONS
    database = Database(database_url)
    database.migrate(migrations.NAMESPACE, known)
    database.migrate(migrations.NAMESPACE, [*known, *later])
    with pytest.raises(Unavailable, match=f"this program knows {len(known)}"):
        database.migrate(migrations.NAMESPACE, known)
    for fewer in range(oldest([*known, *later]), len(known) + len(later)):
        database.migrate(migrations.NAMESPACE, [*known, *later][:fewer])
    database.close()


@pytest.mark.parametrize("namespace", ALL)
def test_what_is_marked_so_only_adds(namespace: str, tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'index.db'}")
    database.migrate(namespace, ())
    for number, migration in enumerate(ALL[namespace]):
        before = _shape(database)
        database.migrate(namespace, ALL[namespace][: number + 1])
        if oldest([migration]) == 0:
            _require_additions(before, _shape(database), migration.__name__)
    database.close()


def test_what_older_programs_would_trip_over_is_no_addition() -> None:
    before = {("table", "names"): {"name": "TEXT"}, ("index", "names_name"): "CREATE INDEX …"}
    _require_additions(before, {**before, ("table", "more"): {}}, "fine")
    for bad in (
        {("table", "names"): {"name": "TEXT"}},
        {**before, ("table", "names"): {"name": "TEXT", "rank": "required"}},
        {**before, ("table", "names"): {"other": "TEXT"}},
        {**before, ("trigger", "names"): "CREATE TRIGGER …"},
    ):
        with pytest.raises(AssertionError):
            _require_additions(before, bad, "bad")


def _shape(database: Database) -> dict[tuple[str, str], Any]:
    """What there is by kind and name: a table's columns, and the text of everything else.

    A trigger goes by its table.
    """
    found: dict[tuple[str, str], Any] = {}
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_master")
        for kind, name, table, text in rows.all():
            if kind != "table":
                found[kind, table if kind == "trigger" else name] = text
                continue
            columns = connection.exec_driver_sql(f"PRAGMA table_info({name})").all()
            found[kind, name] = {
                column: "required" if needed and default is None and not key else "may be left out"
                for _, column, _, needed, default, key in columns
            }
    return found


def _require_additions(
    before: dict[tuple[str, str], Any], after: dict[tuple[str, str], Any], what: str
) -> None:
    for (kind, name), was in before.items():
        now = after.get((kind, name))
        if kind == "table":
            assert now is not None, f"{what} takes `{name}` away"
            assert now.items() >= was.items(), f"{what} changes columns of `{name}`"
            more = {
                column for column, how in now.items() if column not in was and how == "required"
            }
            assert not more, f"{what} wants {more} of `{name}` from whoever does not know them"
        else:
            assert now == was, f"{what} changes the {kind} of `{name}`"
    tables = {name for kind, name in before if kind == "table"}
    new = {name for kind, name in after.keys() - before.keys() if kind == "trigger"}
    assert not new & tables, f"{what} refuses what older programs write"
