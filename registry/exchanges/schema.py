"""The tables of captured exchanges and of feedback, and the numbered migrations that make them.

Invariant: no column holds a text that a person wrote. What was asked, answered, corrected or
remarked lies in sealed files (`files.py`); here are ids, names the registry knows, times, sizes and
numbers.

`MIGRATIONS` is append-only: a released function is never edited. Times are seconds since the epoch,
sizes are bytes.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.index.migrating import Migration

NAMESPACE = "exchanges"

metadata = sa.MetaData()

exchanges = sa.Table(
    "exchanges",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("receipt", sa.Text, nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("adapter", sa.Text, nullable=False),
    sa.Column("ref", sa.Text, nullable=False),
    sa.Column("release", sa.Text, nullable=False, quote=True),
    sa.Column("base", sa.Text, nullable=False),
    sa.Column("template", sa.Text, nullable=False),
    sa.Column("share", sa.Text, nullable=False),
    sa.Column("stored", sa.Boolean, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("expires", sa.Double, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
)
feedback = sa.Table(
    "exchange_feedback",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("receipt", sa.Text, nullable=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("adapter", sa.Text, nullable=False),
    sa.Column("release", sa.Text, nullable=False, quote=True),
    sa.Column("reviewer", sa.Text, nullable=False),
    sa.Column("thumb", sa.Text, nullable=False),
    sa.Column("score", sa.Double),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("sealed", sa.Boolean, nullable=False),
    sa.Column("once", sa.Text),
    sa.Column("created", sa.Double, nullable=False),
)
# What another release answered to the same request, beside the first answer. `release` is whose
# answer it is, `same` whether both say the same.
shadows = sa.Table(
    "exchange_shadows",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("receipt", sa.Text, nullable=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("adapter", sa.Text, nullable=False),
    sa.Column("release", sa.Text, nullable=False, quote=True),
    sa.Column("same", sa.Boolean, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
)
# A reviewer was shown an answer, or two of them (`shadow` is empty for one), and has judged or not.
# `first` is whose stands first: 0 the answer's, 1 the shadow's; `choice` the place of the better
# one, or 0; of one answer 1 for right and 0 for wrong.
reviews = sa.Table(
    "exchange_reviews",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("receipt", sa.Text, nullable=False),
    sa.Column("shadow", sa.Text, nullable=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("adapter", sa.Text, nullable=False),
    sa.Column("release", sa.Text, nullable=False, quote=True),
    sa.Column("against", sa.Text, nullable=False),
    sa.Column("reviewer", sa.Text, nullable=False),
    sa.Column("first", sa.Integer, nullable=False, quote=True),
    sa.Column("choice", sa.Integer),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("judged", sa.Double),
)
# When a tenant's things were last erased: what was asked before is not kept any more.
erased = sa.Table(
    "exchange_erasures",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
)


def _m001_exchanges_and_feedback(connection: Connection) -> None:
    """Exchanges, feedback, and when a tenant's were erased."""
    sequence = (
        "INTEGER PRIMARY KEY AUTOINCREMENT"
        if connection.dialect.name == "sqlite"
        else "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    )
    for statement in (
        f"""CREATE TABLE exchanges (
            sequence {sequence}, receipt TEXT NOT NULL, id TEXT NOT NULL, tenant TEXT NOT NULL,
            adapter TEXT NOT NULL, ref TEXT NOT NULL, "release" TEXT NOT NULL, base TEXT NOT NULL,
            template TEXT NOT NULL, share TEXT NOT NULL, stored BOOLEAN NOT NULL,
            created DOUBLE PRECISION NOT NULL, expires DOUBLE PRECISION NOT NULL,
            size BIGINT NOT NULL)""",
        "CREATE UNIQUE INDEX exchanges_receipt ON exchanges (receipt)",
        "CREATE INDEX exchanges_id ON exchanges (tenant, id)",
        "CREATE INDEX exchanges_tenant ON exchanges (tenant, sequence)",
        "CREATE INDEX exchanges_expires ON exchanges (expires)",
        f"""CREATE TABLE exchange_feedback (
            sequence {sequence}, id TEXT NOT NULL, receipt TEXT NOT NULL, tenant TEXT NOT NULL,
            adapter TEXT NOT NULL, "release" TEXT NOT NULL, reviewer TEXT NOT NULL,
            thumb TEXT NOT NULL, score DOUBLE PRECISION, label TEXT NOT NULL,
            sealed BOOLEAN NOT NULL, once TEXT, created DOUBLE PRECISION NOT NULL)""",
        "CREATE UNIQUE INDEX exchange_feedback_once ON exchange_feedback (tenant, once)",
        "CREATE INDEX exchange_feedback_receipt ON exchange_feedback (tenant, receipt)",
        """CREATE TABLE exchange_erasures (
            tenant TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL)""",
    ):
        connection.exec_driver_sql(statement)


def _m002_shadows_and_reviews(connection: Connection) -> None:
    """Answers of other releases to the same requests, and what reviewers were shown."""
    sequence = (
        "INTEGER PRIMARY KEY AUTOINCREMENT"
        if connection.dialect.name == "sqlite"
        else "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    )
    for statement in (
        f"""CREATE TABLE exchange_shadows (
            sequence {sequence}, id TEXT NOT NULL, receipt TEXT NOT NULL, tenant TEXT NOT NULL,
            adapter TEXT NOT NULL, "release" TEXT NOT NULL, same BOOLEAN NOT NULL,
            created DOUBLE PRECISION NOT NULL)""",
        'CREATE UNIQUE INDEX exchange_shadows_receipt ON exchange_shadows (receipt, "release")',
        "CREATE INDEX exchange_shadows_tenant ON exchange_shadows (tenant, sequence)",
        f"""CREATE TABLE exchange_reviews (
            sequence {sequence}, id TEXT NOT NULL, receipt TEXT NOT NULL, shadow TEXT NOT NULL,
            tenant TEXT NOT NULL, adapter TEXT NOT NULL, "release" TEXT NOT NULL,
            against TEXT NOT NULL, reviewer TEXT NOT NULL, "first" INTEGER NOT NULL,
            choice INTEGER, created DOUBLE PRECISION NOT NULL, judged DOUBLE PRECISION)""",
        """CREATE UNIQUE INDEX exchange_reviews_once
            ON exchange_reviews (receipt, shadow, reviewer)""",
        "CREATE INDEX exchange_reviews_tenant ON exchange_reviews (tenant, sequence)",
    ):
        connection.exec_driver_sql(statement)


MIGRATIONS: tuple[Migration, ...] = (_m001_exchanges_and_feedback, _m002_shadows_and_reviews)
