"""The tables of what is to be told to whom, and the numbered migrations that make them.

`MIGRATIONS` is append-only: a released function is never edited. Times are seconds since the epoch.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.index.migrating import Migration

NAMESPACE = "webhooks"

metadata = sa.MetaData()

# From when on an address is told: jobs that ended at `jobs_from` or later, and rows of the
# registry's log after `log_from`.
addresses = sa.Table(
    "webhook_addresses",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("jobs_from", sa.Double, nullable=False),
    sa.Column("log_from", sa.BigInteger, nullable=False),
)
# One event for one address. `state` is `due`, `sent` or `dropped`; `due` is when it is sent next.
deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    sa.Column("address", sa.Text, primary_key=True),
    sa.Column("event", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("made", sa.Double, nullable=False),
    sa.Column("due", sa.Double, nullable=False),
    sa.Column("tried", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("said", sa.Text, nullable=False),
)


def _m001_webhooks(connection: Connection) -> None:
    """Addresses and deliveries."""
    for statement in (
        """CREATE TABLE webhook_addresses (
            name TEXT PRIMARY KEY, jobs_from DOUBLE PRECISION NOT NULL,
            log_from BIGINT NOT NULL)""",
        """CREATE TABLE webhook_deliveries (
            address TEXT NOT NULL, event TEXT NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL,
            made DOUBLE PRECISION NOT NULL, due DOUBLE PRECISION NOT NULL, tried INTEGER NOT NULL,
            state TEXT NOT NULL, said TEXT NOT NULL, PRIMARY KEY (address, event))""",
        "CREATE INDEX webhook_deliveries_due ON webhook_deliveries (state, due)",
    ):
        connection.exec_driver_sql(statement)


MIGRATIONS: tuple[Migration, ...] = (_m001_webhooks,)
