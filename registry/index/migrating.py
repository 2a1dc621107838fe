"""How a database is brought to the tables that a program knows, and which programs it then serves.

Invariants:
- Migrations are numbered functions in append-only lists, one list a namespace, applied in order
  inside one write transaction: any number of processes may open the same database at once.
- Beside the version of a namespace stands the oldest one whose programs can go on with its tables
  (expand and contract): while gateways are replaced one by one, those of the old version that open
  the index do what they did, unless a migration changed what they read or write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import Unavailable

Migration = Callable[[Connection], None]

_OLDEST = "{namespace}: oldest"
"""The namespace of the row that says which version a program has to know at least."""
_metadata = sa.MetaData()
_versions = sa.Table(
    "schema_versions",
    _metadata,
    sa.Column("namespace", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)
_EXPANDS = "expands"


class Transactions(Protocol):
    """A database, as `Database` opens it."""

    def read(self) -> AbstractContextManager[Connection]:
        """A connection for reading."""

    def write(self) -> AbstractContextManager[Connection]:
        """A write transaction that holds the write lock; commits unless the block raises."""


def expands(migration: Migration) -> Migration:
    """Mark a migration that only adds: programs that do not know it go on as before.

    It makes tables, indexes, and columns that may be left out (nullable, or with a default), and
    means nothing else by what is there: a program that writes without it leaves nothing undone.
    """
    setattr(migration, _EXPANDS, True)
    return migration


def refuse(connection: Connection, table: str, operation: str, message: str, when: str) -> None:
    """A trigger that aborts an operation on a table.

    Args:
        operation: `INSERT`, `UPDATE` or `DELETE`.
        message: what it is aborted with.
        when: of which rows, over OLD and NEW: `true` of all.
    """
    name = f"{table}_no_{operation.lower()}"
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            f"CREATE TRIGGER {name} BEFORE {operation} ON {table} WHEN {when} "
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )
        return
    connection.exec_driver_sql(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{message}'; END $$"
    )
    connection.exec_driver_sql(
        f"CREATE TRIGGER {name} BEFORE {operation} ON {table} FOR EACH ROW WHEN ({when}) "
        f"EXECUTE FUNCTION {name}()"
    )


def refuse_no_more(connection: Connection, table: str, operation: str) -> None:
    """Take a trigger of `refuse` away."""
    name = f"{table}_no_{operation.lower()}"
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
        return
    connection.exec_driver_sql(f"DROP TRIGGER {name} ON {table}")
    connection.exec_driver_sql(f"DROP FUNCTION {name}()")


def oldest(migrations: Sequence[Migration]) -> int:
    """How many of them a program has to know to use a database that has had all."""
    changing = (n for n, one in enumerate(migrations, 1) if not hasattr(one, _EXPANDS))
    return max(changing, default=0)


def migrate(database: Transactions, namespace: str, migrations: Sequence[Migration]) -> None:
    """Bring `namespace` to `len(migrations)`; a database that is there already costs one read.

    One that a newer program has brought further stays as it is.

    Raises:
        Unavailable: it was brought further by a newer program, and does not serve this one.
    """
    with database.read() as connection:
        if sa.inspect(connection).has_table(_versions.name) and _is_there(
            connection, namespace, len(migrations)
        ):
            return
    with database.write() as connection:
        _metadata.create_all(connection)
        if _is_there(connection, namespace, len(migrations)):  # by another process meanwhile
            return
        for migration in migrations[_version(connection, namespace) or 0 :]:
            migration(connection)
        _note(connection, namespace, len(migrations))
        _note(connection, _OLDEST.format(namespace=namespace), oldest(migrations))


def _is_there(connection: Connection, namespace: str, known: int) -> bool:
    """Whether a program that knows so many migrations can use the tables as they are.

    Raises:
        Unavailable: only a newer one can.
    """
    current = _version(connection, namespace)
    if current is None or current < known:
        return False
    least = _version(connection, _OLDEST.format(namespace=namespace))
    if current > known and (least is None or least > known):
        raise Unavailable(
            f"the database's `{namespace}` tables are at version {current}; "
            f"this program knows {known}",
            hint="upgrade adapterworks",
        )
    return True


def _version(connection: Connection, namespace: str) -> int | None:
    query = sa.select(_versions.c.version).where(_versions.c.namespace == namespace)
    version: int | None = connection.scalar(query)
    return version


def _note(connection: Connection, namespace: str, version: int) -> None:
    connection.execute(sa.delete(_versions).where(_versions.c.namespace == namespace))
    connection.execute(sa.insert(_versions).values(namespace=namespace, version=version))
