"""How an index comes to have its tables: numbered migrations, from none to those of `schema.py`.

`MIGRATIONS` is append-only: a released function is never edited, so it spells its tables out
instead of using the table objects of `schema.py`, which describe the newest schema.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.index.migrating import Migration, refuse, refuse_no_more

NAMESPACE = "registry"


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
    refuse(connection, "log", "UPDATE", "the log is append-only", "true")
    refuse(connection, "log", "DELETE", "the log is append-only", "true")
    refuse(connection, "versions", "DELETE", "versions are never removed", "true")
    fixed = (
        "name version digest method base_model base_digest description tags metrics size plan "
        "parent created created_by published"
    )
    distinct = "IS NOT" if connection.dialect.name == "sqlite" else "IS DISTINCT FROM"
    changed = " OR ".join(f"OLD.{column} {distinct} NEW.{column}" for column in fixed.split())
    when = f"OLD.deleted IS NOT NULL OR {changed}"
    refuse(connection, "versions", "UPDATE", "versions are immutable", when)


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
    refuse(connection, "signatures", "UPDATE", "signatures are append-only", "true")
    refuse(connection, "signatures", "DELETE", "signatures are append-only", "true")


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
        refuse(connection, table, "UPDATE", what, "true")
        refuse(connection, table, "DELETE", what, "true")


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
            refuse(connection, table, "INSERT", message, when)
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
    refuse(connection, "store", "UPDATE", "the id of the store never changes", "true")


def _m007_the_log_is_a_chain(connection: Connection) -> None:
    _run(connection, "ALTER TABLE log ADD COLUMN chain TEXT")


def _m008_settings_come_back(connection: Connection) -> None:
    """Purges erased what only says how weights are loaded, which releases of the same settings have
    too: their publishing was refused. What was erased without the weights beside it, or for another
    reason, was meant."""
    path = "({0} LIKE 'adapter/%' OR {0} LIKE 'servable/%' OR {0} LIKE 'full/%')"
    weights = f"{path} AND {{0}} LIKE '%.safetensors'"
    settings = f"{path} AND {{0}} NOT LIKE '%.safetensors'"
    purged = f"""SELECT gone.blob FROM absences gone WHERE gone.state = 'erased'
        AND NOT EXISTS (SELECT 1 FROM release_blobs has
            WHERE has.blob = gone.blob AND NOT ({settings.format("has.path")}))
        AND EXISTS (SELECT 1 FROM release_blobs has
            JOIN release_blobs beside ON beside.release = has.release
            JOIN absences also ON also.blob = beside.blob AND also.state = 'erased'
            WHERE has.blob = gone.blob AND {weights.format("beside.path")}
            AND also.who = gone.who AND also.why = gone.why)"""  # noqa: S608  (names of ours)
    blobs = connection.exec_driver_sql(purged.replace("%", "%%")).scalars().all()
    refuse_no_more(connection, "absences", "DELETE")
    gone = sa.text("DELETE FROM absences WHERE state = 'erased' AND blob = :blob")
    for blob in blobs:
        connection.execute(gone, {"blob": blob})
    refuse(connection, "absences", "DELETE", "absences are append-only", "true")


MIGRATIONS: tuple[Migration, ...] = (
    _m001_versions_aliases_log,
    _m002_leases,
    _m003_signatures,
    _m004_records_that_last,
    _m005_no_way_around_the_triggers,
    _m006_whose_the_store_is,
    _m007_the_log_is_a_chain,
    _m008_settings_come_back,
)
