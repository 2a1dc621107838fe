"""How a database comes to have the gateway's tables: numbered migrations, to those of `schema.py`.

`MIGRATIONS` is append-only: a released function is never edited, so it spells its tables out
instead of using the table objects of `schema.py`, which describe the newest schema.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from adapterworks.gateway.storage import webhooks
from adapterworks.registry.exchanges import schema as exchanges
from adapterworks.registry.index.database import Database
from adapterworks.registry.index.migrating import Migration

NAMESPACE = "gateway"


def migrate(database: Database) -> None:
    """Bring the gateway's tables of `database` to the newest schema; safe in every process.

    Those of captured exchanges and of webhooks are made with them, so that one command of the owner
    makes all.
    """
    database.migrate(NAMESPACE, MIGRATIONS)
    database.migrate(webhooks.NAMESPACE, webhooks.MIGRATIONS)
    database.migrate(exchanges.NAMESPACE, exchanges.MIGRATIONS)


def _append_only(connection: Connection, table: str) -> None:
    """Triggers that refuse every UPDATE and DELETE of `table`."""
    message = f"{table} is append-only"
    if connection.dialect.name == "sqlite":
        for operation in ("UPDATE", "DELETE"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER {table}_no_{operation.lower()} BEFORE {operation} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
            )
        return
    connection.exec_driver_sql(
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{message}'; END $$"
    )
    connection.exec_driver_sql(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {table}_append_only()"
    )


def _m001_tenants_audit_usage_limits(connection: Connection) -> None:
    """Tenants and keys, audit log, usage and its sums, buckets and slots."""
    sequence = (
        "INTEGER PRIMARY KEY AUTOINCREMENT"
        if connection.dialect.name == "sqlite"
        else "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    )
    for statement in (
        """CREATE TABLE gateway_tenants (
            id TEXT PRIMARY KEY, name TEXT NOT NULL, allow TEXT NOT NULL, cache_salt TEXT NOT NULL,
            rpm BIGINT, tpm BIGINT, max_concurrency BIGINT, monthly_tokens BIGINT,
            weight DOUBLE PRECISION NOT NULL, created DOUBLE PRECISION NOT NULL,
            removed DOUBLE PRECISION)""",
        # A name may be used again after its tenant is removed; usage stays with the old id.
        "CREATE UNIQUE INDEX gateway_tenants_name ON gateway_tenants (name) WHERE removed IS NULL",
        """CREATE TABLE gateway_keys (
            id TEXT PRIMARY KEY, tenant TEXT NOT NULL REFERENCES gateway_tenants (id),
            digest TEXT NOT NULL, created DOUBLE PRECISION NOT NULL, expires DOUBLE PRECISION,
            revoked DOUBLE PRECISION)""",
        "CREATE INDEX gateway_keys_tenant ON gateway_keys (tenant)",
        "CREATE TABLE gateway_revision (value BIGINT NOT NULL)",
        "INSERT INTO gateway_revision (value) VALUES (0)",
        f"""CREATE TABLE gateway_audit (
            sequence {sequence}, at DOUBLE PRECISION NOT NULL, who TEXT NOT NULL,
            action TEXT NOT NULL, tenant TEXT NOT NULL, details TEXT NOT NULL)""",
        "CREATE INDEX gateway_audit_tenant ON gateway_audit (tenant, sequence)",
        """CREATE TABLE gateway_usage_events (
            request_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, release TEXT NOT NULL,
            ref TEXT NOT NULL, endpoint TEXT NOT NULL, status INTEGER NOT NULL,
            prompt_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL,
            cold_load BOOLEAN NOT NULL, started DOUBLE PRECISION NOT NULL,
            seconds DOUBLE PRECISION NOT NULL)""",
        "CREATE INDEX gateway_usage_events_started ON gateway_usage_events (started)",
        """CREATE TABLE gateway_usage_days (
            day TEXT NOT NULL, tenant TEXT NOT NULL, release TEXT NOT NULL, ref TEXT NOT NULL,
            requests BIGINT NOT NULL, failures BIGINT NOT NULL, cold_loads BIGINT NOT NULL,
            prompt_tokens BIGINT NOT NULL, completion_tokens BIGINT NOT NULL,
            PRIMARY KEY (day, tenant, release, ref))""",
        "CREATE INDEX gateway_usage_days_tenant ON gateway_usage_days (tenant, day)",
        """CREATE TABLE gateway_buckets (
            tenant TEXT NOT NULL, kind TEXT NOT NULL, full_at DOUBLE PRECISION NOT NULL,
            PRIMARY KEY (tenant, kind))""",
        """CREATE TABLE gateway_slots (
            tenant TEXT NOT NULL, holder TEXT NOT NULL, held BIGINT NOT NULL,
            expires DOUBLE PRECISION NOT NULL, PRIMARY KEY (tenant, holder))""",
    ):
        connection.exec_driver_sql(statement)
    _append_only(connection, "gateway_audit")
    _append_only(connection, "gateway_usage_events")


def _m002_what_an_answer_was_made_of(connection: Connection) -> None:
    """Usage events say more: cached and reasoning tokens, sequences, key, user, estimated."""
    for column in (
        "cached_tokens BIGINT NOT NULL DEFAULT 0",
        "reasoning_tokens BIGINT NOT NULL DEFAULT 0",
        "sequences BIGINT NOT NULL DEFAULT 1",
        "key_id TEXT NOT NULL DEFAULT ''",
        "\"user\" TEXT NOT NULL DEFAULT ''",
        "estimated BOOLEAN NOT NULL DEFAULT FALSE",
    ):
        connection.exec_driver_sql(f"ALTER TABLE gateway_usage_events ADD COLUMN {column}")


def _m003_no_way_around_the_triggers(connection: Connection) -> None:
    """SQLite's INSERT OR REPLACE fires no DELETE trigger, PostgreSQL's TRUNCATE none for rows."""
    for table, key, what in (
        ("gateway_audit", "sequence", "ABORT, 'gateway_audit is append-only'"),
        # An answer may be recorded twice, and is counted once: the row that is there stays.
        ("gateway_usage_events", "request_id", "IGNORE"),
    ):
        if connection.dialect.name == "sqlite":
            same = f"EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})"  # noqa: S608
            connection.exec_driver_sql(
                f"CREATE TRIGGER {table}_no_insert BEFORE INSERT ON {table} WHEN {same} "
                f"BEGIN SELECT RAISE({what}); END"
            )
            continue
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
        )


def _m004_shared_engines(connection: Connection) -> None:
    """Who holds which adapter on an engine that several gateways use."""
    connection.exec_driver_sql(
        """CREATE TABLE gateway_residents (
            engine TEXT NOT NULL, digest TEXT NOT NULL, holder TEXT NOT NULL,
            expires DOUBLE PRECISION NOT NULL, PRIMARY KEY (engine, digest, holder))"""
    )


def _m005_old_events_may_go(connection: Connection) -> None:
    """Events older than 31 days may be deleted; no other, and none may be changed."""
    message = "gateway_usage_events is append-only"
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("DROP TRIGGER gateway_usage_events_no_delete")
        connection.exec_driver_sql(
            "CREATE TRIGGER gateway_usage_events_no_delete BEFORE DELETE ON gateway_usage_events "
            "WHEN OLD.started > CAST(strftime('%s', 'now') AS INTEGER) - 31 * 86400 "
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )
        return
    connection.exec_driver_sql(
        "CREATE OR REPLACE FUNCTION gateway_usage_events_append_only() RETURNS trigger "
        "LANGUAGE plpgsql AS $$ BEGIN "
        # Nested: where a table is emptied there is no OLD to be looked at.
        "IF TG_OP = 'DELETE' THEN IF OLD.started < extract(epoch FROM now()) - 31 * 86400 THEN "
        f"RETURN OLD; END IF; END IF; RAISE EXCEPTION '{message}'; END $$"
    )


def _m006_served_of_shared_engines(connection: Connection) -> None:
    """What tenants were served of an engine that several gateways use."""
    connection.exec_driver_sql(
        """CREATE TABLE gateway_served (
            engine TEXT NOT NULL, tenant TEXT NOT NULL, tokens BIGINT NOT NULL,
            PRIMARY KEY (engine, tenant))"""
    )


def _m007_registry_over_http(connection: Connection) -> None:
    """Tokens with roles for the registry over HTTP, and the trail of what they changed."""
    sequence = (
        "INTEGER PRIMARY KEY AUTOINCREMENT"
        if connection.dialect.name == "sqlite"
        else "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    )
    for statement in (
        """CREATE TABLE gateway_registry_tokens (
            id TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, digest TEXT, tenant TEXT,
            created DOUBLE PRECISION NOT NULL, expires DOUBLE PRECISION, revoked DOUBLE PRECISION,
            CHECK ((digest IS NULL) <> (tenant IS NULL)))""",
        "CREATE UNIQUE INDEX gateway_registry_tokens_name ON gateway_registry_tokens (name) "
        "WHERE revoked IS NULL",
        "CREATE UNIQUE INDEX gateway_registry_tokens_tenant ON gateway_registry_tokens (tenant) "
        "WHERE revoked IS NULL AND tenant IS NOT NULL",
        f"""CREATE TABLE gateway_registry_trail (
            sequence {sequence}, "of" BIGINT NOT NULL, at DOUBLE PRECISION NOT NULL,
            who TEXT NOT NULL, token TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
            status INTEGER NOT NULL, details TEXT NOT NULL)""",
        'CREATE INDEX gateway_registry_trail_of ON gateway_registry_trail ("of")',
    ):
        connection.exec_driver_sql(statement)
    _append_only(connection, "gateway_registry_trail")
    if connection.dialect.name == "sqlite":
        same = "EXISTS (SELECT 1 FROM gateway_registry_trail WHERE sequence = NEW.sequence)"
        connection.exec_driver_sql(
            "CREATE TRIGGER gateway_registry_trail_no_insert BEFORE INSERT "
            f"ON gateway_registry_trail WHEN {same} "
            "BEGIN SELECT RAISE(ABORT, 'gateway_registry_trail is append-only'); END"
        )
        return
    connection.exec_driver_sql(
        "CREATE TRIGGER gateway_registry_trail_no_truncate BEFORE TRUNCATE "
        "ON gateway_registry_trail FOR EACH STATEMENT "
        "EXECUTE FUNCTION gateway_registry_trail_append_only()"
    )


def _m008_bytes_sent_to_the_registry(connection: Connection) -> None:
    """Who sent which bytes: nobody publishes bytes that they have not."""
    connection.exec_driver_sql(
        """CREATE TABLE gateway_registry_sent (
            token TEXT NOT NULL, digest TEXT NOT NULL, size BIGINT NOT NULL,
            at DOUBLE PRECISION NOT NULL, PRIMARY KEY (token, digest))"""
    )


def _m009_what_tenants_let_us_keep(connection: Connection) -> None:
    """A tenant's consent to have its traffic kept; none has given it."""
    connection.exec_driver_sql("ALTER TABLE gateway_tenants ADD COLUMN capture TEXT")


def _m010_whom_a_token_is_for(connection: Connection) -> None:
    """Several tokens may be one person's; one that is there already is for whom it is named."""
    for column in ("person", "makers"):
        connection.exec_driver_sql(f"ALTER TABLE gateway_registry_tokens ADD COLUMN {column} TEXT")


def _m011_what_one_gateway_found_out(connection: Connection) -> None:
    """Proofs by the kind of engine, and which releases declare a pin: found out once, for all."""
    connection.exec_driver_sql(
        "CREATE TABLE gateway_declared (release TEXT PRIMARY KEY, pinned INTEGER NOT NULL)"
    )
    connection.exec_driver_sql(
        """CREATE TABLE gateway_proofs (
            release TEXT NOT NULL, kind TEXT NOT NULL, at DOUBLE PRECISION NOT NULL,
            divergence DOUBLE PRECISION NOT NULL, separation DOUBLE PRECISION NOT NULL,
            PRIMARY KEY (release, kind))"""
    )


def _m012_no_event_names_a_user(connection: Connection) -> None:
    """Events had the client's `user` as it was sent; from now on a pseudonym, and of those that are
    there nothing."""
    table, emptied = "gateway_usage_events", """ SET "user" = '' WHERE "user" <> ''"""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"DROP TRIGGER {table}_no_update")
        connection.exec_driver_sql(f"UPDATE {table}{emptied}")
        connection.exec_driver_sql(
            f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        )
        return
    connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER {table}_append_only")
    connection.exec_driver_sql(f"UPDATE {table}{emptied}")
    connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE TRIGGER {table}_append_only")


MIGRATIONS: tuple[Migration, ...] = (
    _m001_tenants_audit_usage_limits,
    _m002_what_an_answer_was_made_of,
    _m003_no_way_around_the_triggers,
    _m004_shared_engines,
    _m005_old_events_may_go,
    _m006_served_of_shared_engines,
    _m007_registry_over_http,
    _m008_bytes_sent_to_the_registry,
    _m009_what_tenants_let_us_keep,
    _m010_whom_a_token_is_for,
    _m011_what_one_gateway_found_out,
    _m012_no_event_names_a_user,
)
