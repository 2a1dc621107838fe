"""The tables of datasets and seals, and the numbered migrations that make them.

Invariant, held by the database itself (triggers): a dataset's row and a seal never change and are
never removed.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.index.database import Database
from adapterworks.registry.index.migrating import Migration

NAMESPACE = "datasets"

metadata = sa.MetaData()

datasets = sa.Table(
    "datasets",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("record", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
)
# What of test sets is kept for ever: the blob has shingles of questions as numbers, no text.
seals = sa.Table(
    "seals",
    metadata,
    sa.Column("blob", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, primary_key=True),
    sa.Column("at", sa.Text, nullable=False),
)
# Rows that were erased, and all rows of the splits that went with them: each as 16 hexadecimal
# digits of its digest, no text.
erased_rows = sa.Table(
    "erased_rows",
    metadata,
    sa.Column("row", sa.Text, primary_key=True, quote=True),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
)
erased_parts = sa.Table(
    "erased_parts",
    metadata,
    sa.Column("blob", sa.Text, primary_key=True),
    sa.Column("marks", sa.Text, nullable=False),
)


def migrate(database: Database) -> None:
    """Bring the tables of `database` to the newest schema; safe in every process."""
    database.migrate(NAMESPACE, MIGRATIONS)


def _keep(connection: Connection, table: str) -> None:
    """Triggers that refuse every change of rows that are there."""
    sqlite = connection.dialect.name == "sqlite"
    message = f"{table} are append-only"
    if not sqlite:
        connection.exec_driver_sql(
            f"CREATE FUNCTION {table}_stay() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{message}'; END $$"
        )
    for operation in ("UPDATE", "DELETE"):
        name = f"{table}_no_{operation.lower()}"
        connection.exec_driver_sql(
            f"CREATE TRIGGER {name} BEFORE {operation} ON {table} "
            + (
                f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
                if sqlite
                else f"FOR EACH ROW EXECUTE FUNCTION {table}_stay()"
            )
        )
    if not sqlite:
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_stay()"
        )


def _m001_datasets_and_seals(connection: Connection) -> None:
    for statement in (
        """CREATE TABLE datasets (
            name TEXT NOT NULL, version INTEGER NOT NULL CHECK (version > 0), digest TEXT NOT NULL,
            record TEXT NOT NULL, at TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL,
            PRIMARY KEY (name, version))""",
        "CREATE UNIQUE INDEX datasets_digest ON datasets (digest)",
        """CREATE TABLE seals (
            blob TEXT NOT NULL, owner TEXT NOT NULL, at TEXT NOT NULL,
            PRIMARY KEY (blob, owner))""",
    ):
        connection.exec_driver_sql(statement)
    _keep(connection, "datasets")
    _keep(connection, "seals")


def _m002_rows_that_were_erased(connection: Connection) -> None:
    for statement in (
        """CREATE TABLE erased_rows (
            "row" TEXT PRIMARY KEY, at TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL)""",
        "CREATE TABLE erased_parts (blob TEXT PRIMARY KEY, marks TEXT NOT NULL)",
    ):
        connection.exec_driver_sql(statement)
    _keep(connection, "erased_rows")
    _keep(connection, "erased_parts")


MIGRATIONS: tuple[Migration, ...] = (_m001_datasets_and_seals, _m002_rows_that_were_erased)
