"""The index's tables and the numbered migrations that make them.

Invariants, held by the database itself (triggers), not by convention:
- a version's row never changes but for its tombstone, which is written once, and is never removed;
- the log, the signatures and the absences (what was erased or withheld) are append-only.

`MIGRATIONS` is append-only: a released function is never edited, so it spells its tables out
instead of using the table objects below, which describe the newest schema.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.index.database import Migration

NAMESPACE = "registry"

metadata = sa.MetaData()

names = sa.Table(
    "names",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("last_version", sa.Integer),
    sa.Column("live", sa.Integer),
    sa.Column("updated", sa.Text),
)
versions = sa.Table(
    "versions",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("digest", sa.Text),
    sa.Column("method", sa.Text),
    sa.Column("base_model", sa.Text),
    sa.Column("base_digest", sa.Text),
    sa.Column("description", sa.Text),
    sa.Column("tags", sa.Text),
    sa.Column("metrics", sa.Text),
    sa.Column("size", sa.BigInteger),
    sa.Column("plan", sa.Text),
    sa.Column("parent", sa.Text),
    sa.Column("created", sa.Text),
    sa.Column("created_by", sa.Text),
    sa.Column("published", sa.Text),
    sa.Column("deleted", sa.Text),
)
# Every blob a release needs: its files, and its record under the path "".
release_blobs = sa.Table(
    "release_blobs",
    metadata,
    sa.Column("release", sa.Text, primary_key=True),
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("blob", sa.Text),
    sa.Column("size", sa.BigInteger),
)
aliases = sa.Table(
    "aliases",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("alias", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer),
    sa.Column("canary", sa.Integer),
    sa.Column("weight", sa.Integer),
)
log = sa.Table(
    "log",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text),
    sa.Column("kind", sa.Text),
    sa.Column("version", sa.Integer),
    sa.Column("alias", sa.Text),
    sa.Column("at", sa.Text),
    sa.Column("who", sa.Text),
    sa.Column("why", sa.Text),
    sa.Column("data", sa.Text),
    # Digest over this row and the one before it (`chain.py`); rows of before 2026-11-29 have none.
    sa.Column("chain", sa.Text),
)
revision = sa.Table("revision", metadata, sa.Column("value", sa.BigInteger))
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text),
    sa.Column("holder", sa.Text),
    sa.Column("expires", sa.Double),
)
lease_blobs = sa.Table(
    "lease_blobs",
    metadata,
    sa.Column("lease", sa.Text, primary_key=True),
    sa.Column("blob", sa.Text, primary_key=True),
)
signatures = sa.Table(
    "signatures",
    metadata,
    sa.Column("release", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("bundle", sa.Text),
    sa.Column("at", sa.Text),
    sa.Column("who", sa.Text),
)
# Signatures that came with a pulled release: nobody here has checked whose they are, so a bad one
# must not stand in the way of a good one by the same key.
received_signatures = sa.Table(
    "received_signatures",
    metadata,
    sa.Column("release", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("key", sa.Text),
    sa.Column("bundle", sa.Text),
    sa.Column("at", sa.Text),
    sa.Column("who", sa.Text),
)
# Why bytes are not here. `release` is "" for erased ones: they are gone for every release.
absences = sa.Table(
    "absences",
    metadata,
    sa.Column("blob", sa.Text, primary_key=True),
    sa.Column("release", sa.Text, primary_key=True),
    sa.Column("state", sa.Text),
    sa.Column("at", sa.Text),
    sa.Column("who", sa.Text),
    sa.Column("why", sa.Text),
)
# What a release's record names by digest, for looking it up from the other end: `parent` (key: the
# relation), `digest` (key: the stage, only where it was built here), `data` (key: the split).
release_links = sa.Table(
    "release_links",
    metadata,
    sa.Column("release", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("key", sa.Text),
    sa.Column("target", sa.Text),
)
# Tags given (present 1) or taken (0) after publishing; the log has who, when and why.
version_tags = sa.Table(
    "version_tags",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("tag", sa.Text, primary_key=True),
    sa.Column("present", sa.Integer),
)

# The id that this index shares with its blob store: one row, once it has written there.
store = sa.Table(
    "store",
    metadata,
    sa.Column("one", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text),
    sa.Column("at", sa.Text),
)
# Records that a publish was about to put: what of them is in the store and not listed is a killed
# publish's, not a release of another index.
begun = sa.Table(
    "begun",
    metadata,
    sa.Column("release", sa.Text, primary_key=True),
    sa.Column("at", sa.Text),
)
# Blobs that a gc is moving to the trash now, until when at most.
doomed = sa.Table(
    "doomed",
    metadata,
    sa.Column("blob", sa.Text, primary_key=True),
    sa.Column("until", sa.Double),
)


def _refuse(connection: Connection, table: str, operation: str, message: str, when: str) -> None:
    """A trigger that aborts `operation` on `table` where `when` (over OLD and NEW) is true."""
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


def _run(connection: Connection, statements: str) -> None:
    """Run DDL, with SERIAL and DOUBLE spelled as the database wants them."""
    sqlite = connection.dialect.name == "sqlite"
    serial = "INTEGER PRIMARY KEY AUTOINCREMENT"
    if not sqlite:
        serial = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    statements = statements.replace("SERIAL", serial)
    statements = statements.replace("DOUBLE", "REAL" if sqlite else "DOUBLE PRECISION")
    for statement in statements.split(";"):
        if statement.strip():
            connection.exec_driver_sql(statement)


def _m001_versions_aliases_log(connection: Connection) -> None:
    _run(
        connection,
        """
        CREATE TABLE names (
            name TEXT PRIMARY KEY, last_version INTEGER NOT NULL, live INTEGER NOT NULL,
            updated TEXT NOT NULL);
        CREATE TABLE versions (
            name TEXT NOT NULL REFERENCES names, version INTEGER NOT NULL, digest TEXT NOT NULL,
            method TEXT NOT NULL, base_model TEXT NOT NULL, base_digest TEXT NOT NULL,
            description TEXT NOT NULL, tags TEXT NOT NULL, metrics TEXT NOT NULL,
            size BIGINT NOT NULL, plan TEXT, parent TEXT, created TEXT NOT NULL,
            created_by TEXT NOT NULL, published TEXT NOT NULL, deleted TEXT,
            PRIMARY KEY (name, version));
        CREATE UNIQUE INDEX versions_live_digest ON versions (digest) WHERE deleted IS NULL;
        CREATE INDEX versions_digest ON versions (digest, name, version);
        CREATE INDEX versions_plan ON versions (plan) WHERE plan IS NOT NULL;
        CREATE TABLE release_blobs (
            release TEXT NOT NULL, path TEXT NOT NULL, blob TEXT NOT NULL, size BIGINT NOT NULL,
            PRIMARY KEY (release, path));
        CREATE INDEX release_blobs_blob ON release_blobs (blob);
        CREATE TABLE aliases (
            name TEXT NOT NULL, alias TEXT NOT NULL, version INTEGER NOT NULL, canary INTEGER,
            weight INTEGER CHECK (weight BETWEEN 1 AND 99),
            PRIMARY KEY (name, alias),
            FOREIGN KEY (name, version) REFERENCES versions,
            FOREIGN KEY (name, canary) REFERENCES versions,
            CHECK ((canary IS NULL) = (weight IS NULL)));
        CREATE TABLE log (
            sequence SERIAL, name TEXT NOT NULL, kind TEXT NOT NULL, version INTEGER,
            alias TEXT, at TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL, data TEXT NOT NULL);
        CREATE INDEX log_name ON log (name, sequence);
        CREATE INDEX log_alias ON log (name, alias, sequence) WHERE alias IS NOT NULL;
        CREATE TABLE revision (value BIGINT NOT NULL);
        INSERT INTO revision VALUES (0);
        """,
    )
    _refuse(connection, "log", "UPDATE", "the log is append-only", "true")
    _refuse(connection, "log", "DELETE", "the log is append-only", "true")
    _refuse(connection, "versions", "DELETE", "versions are never removed", "true")
    fixed = (
        "name version digest method base_model base_digest description tags metrics size plan "
        "parent created created_by published"
    )
    distinct = "IS NOT" if connection.dialect.name == "sqlite" else "IS DISTINCT FROM"
    changed = " OR ".join(f"OLD.{column} {distinct} NEW.{column}" for column in fixed.split())
    when = f"OLD.deleted IS NOT NULL OR {changed}"
    _refuse(connection, "versions", "UPDATE", "versions are immutable", when)


def _m002_leases(connection: Connection) -> None:
    _run(
        connection,
        """
        CREATE TABLE leases (
            id TEXT PRIMARY KEY, kind TEXT NOT NULL, holder TEXT NOT NULL,
            expires DOUBLE NOT NULL);
        CREATE TABLE lease_blobs (
            lease TEXT NOT NULL REFERENCES leases ON DELETE CASCADE, blob TEXT NOT NULL,
            PRIMARY KEY (lease, blob));
        """,
    )


def _m003_signatures(connection: Connection) -> None:
    _run(
        connection,
        """
        CREATE TABLE signatures (
            release TEXT NOT NULL, key TEXT NOT NULL, bundle TEXT NOT NULL, at TEXT NOT NULL,
            who TEXT NOT NULL, PRIMARY KEY (release, key));
        """,
    )
    _refuse(connection, "signatures", "UPDATE", "signatures are append-only", "true")
    _refuse(connection, "signatures", "DELETE", "signatures are append-only", "true")


def _m004_records_that_last(connection: Connection) -> None:
    _run(
        connection,
        """
        CREATE TABLE received_signatures (
            release TEXT NOT NULL, digest TEXT NOT NULL, key TEXT NOT NULL, bundle TEXT NOT NULL,
            at TEXT NOT NULL, who TEXT NOT NULL, PRIMARY KEY (release, digest));
        CREATE TABLE absences (
            blob TEXT NOT NULL, release TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('withheld', 'erased')),
            at TEXT NOT NULL, who TEXT NOT NULL, why TEXT NOT NULL,
            PRIMARY KEY (blob, release),
            CHECK ((state = 'erased') = (release = '')));
        CREATE TABLE release_links (
            release TEXT NOT NULL, kind TEXT NOT NULL, position INTEGER NOT NULL,
            key TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY (release, kind, position));
        CREATE INDEX release_links_target ON release_links (target, kind);
        CREATE TABLE version_tags (
            name TEXT NOT NULL, version INTEGER NOT NULL, tag TEXT NOT NULL,
            present INTEGER NOT NULL CHECK (present IN (0, 1)),
            PRIMARY KEY (name, version, tag),
            FOREIGN KEY (name, version) REFERENCES versions);
        CREATE INDEX version_tags_tag ON version_tags (tag) WHERE present = 1;
        """,
    )
    for table, what in (
        ("received_signatures", "signatures are append-only"),
        ("absences", "absences are append-only"),
        ("release_links", "releases are immutable"),
    ):
        _refuse(connection, table, "UPDATE", what, "true")
        _refuse(connection, table, "DELETE", what, "true")


def _m005_no_way_around_the_triggers(connection: Connection) -> None:
    """SQLite's INSERT OR REPLACE fires no DELETE trigger, PostgreSQL's TRUNCATE none for rows."""
    for table, key in (
        ("log", "sequence"),
        ("versions", "name version"),
        ("signatures", "release key"),
        ("received_signatures", "release digest"),
        ("absences", "blob release"),
        ("release_links", "release kind position"),
    ):
        message = f"{table} is append-only"
        if connection.dialect.name == "sqlite":
            same = " AND ".join(f"{column} = NEW.{column}" for column in key.split())
            when = f"EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608  (names of ours)
            _refuse(connection, table, "INSERT", message, when)
            continue
        connection.exec_driver_sql(
            f"CREATE FUNCTION {table}_no_truncate() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{message}'; END $$"
        )
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_no_truncate()"
        )


def _m006_whose_the_store_is(connection: Connection) -> None:
    _run(
        connection,
        """
        CREATE TABLE store (
            one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, at TEXT NOT NULL);
        CREATE TABLE begun (release TEXT PRIMARY KEY, at TEXT NOT NULL);
        CREATE TABLE doomed (blob TEXT PRIMARY KEY, until DOUBLE NOT NULL);
        """,
    )
    _refuse(connection, "store", "UPDATE", "the id of the store never changes", "true")


def _m007_the_log_is_a_chain(connection: Connection) -> None:
    _run(connection, "ALTER TABLE log ADD COLUMN chain TEXT")


MIGRATIONS: tuple[Migration, ...] = (
    _m001_versions_aliases_log,
    _m002_leases,
    _m003_signatures,
    _m004_records_that_last,
    _m005_no_way_around_the_triggers,
    _m006_whose_the_store_is,
    _m007_the_log_is_a_chain,
)
