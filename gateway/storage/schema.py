"""The gateway's tables in the index's database as they are now; `migrations.py` makes them.

Invariants, held by the database itself (triggers), not by convention:
- the audit log and the usage events are append-only, but for events older than `KEPT_DAYS`: those
  may be removed (`[metering] keep_days`), the sums of their days may not;
- a tenant is never removed but for its tombstone, so usage keeps its name.

Times are seconds since the epoch; days and months are UTC.
"""

from __future__ import annotations

import sqlalchemy as sa

KEPT_DAYS = 31  # no event goes before, so that a month can be accounted for

metadata = sa.MetaData()

tenants = sa.Table(
    "gateway_tenants",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("allow", sa.Text, nullable=False),
    sa.Column("cache_salt", sa.Text, nullable=False),
    sa.Column("rpm", sa.BigInteger),
    sa.Column("tpm", sa.BigInteger),
    sa.Column("max_concurrency", sa.BigInteger),
    sa.Column("monthly_tokens", sa.BigInteger),
    sa.Column("weight", sa.Double, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("removed", sa.Double),
    sa.Column("capture", sa.Text),
)
keys = sa.Table(
    "gateway_keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("expires", sa.Double),
    sa.Column("revoked", sa.Double),
)
revision = sa.Table("gateway_revision", metadata, sa.Column("value", sa.BigInteger))
audit = sa.Table(
    "gateway_audit",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("details", sa.Text, nullable=False),
)
usage_events = sa.Table(
    "gateway_usage_events",
    metadata,
    sa.Column("request_id", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("ref", sa.Text, nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False),
    sa.Column("cold_load", sa.Boolean, nullable=False),
    sa.Column("started", sa.Double, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("cached_tokens", sa.BigInteger, nullable=False),
    sa.Column("reasoning_tokens", sa.BigInteger, nullable=False),
    sa.Column("sequences", sa.BigInteger, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("user", sa.Text, nullable=False, quote=True),
    sa.Column("estimated", sa.Boolean, nullable=False),
)
# The events' sums, kept in the transaction that inserts them: reports and budgets read these.
usage_days = sa.Table(
    "gateway_usage_days",
    metadata,
    sa.Column("day", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("release", sa.Text, primary_key=True),
    sa.Column("ref", sa.Text, primary_key=True),
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("failures", sa.BigInteger, nullable=False),
    sa.Column("cold_loads", sa.BigInteger, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False),
)
# Token buckets that every gateway draws from: `full_at` is when the bucket is full again.
buckets = sa.Table(
    "gateway_buckets",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("full_at", sa.Double, nullable=False),
)
# Concurrency that a gateway holds for a tenant until `expires`, unless it renews it.
slots = sa.Table(
    "gateway_slots",
    metadata,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, primary_key=True),
    sa.Column("held", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.Double, nullable=False),
)

# Adapters that gateways hold on engines they share: the last of them unloads.
residents = sa.Table(
    "gateway_residents",
    metadata,
    sa.Column("engine", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, primary_key=True),
    sa.Column("expires", sa.Double, nullable=False),
)

# Tokens that all gateways have served of an engine they share: who is next, is by this.
totals = sa.Table(
    "gateway_served",
    metadata,
    sa.Column("engine", sa.Text, primary_key=True),
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("tokens", sa.BigInteger, nullable=False),
)

# Releases that were proved on an engine of a kind: others of it check less.
proofs = sa.Table(
    "gateway_proofs",
    metadata,
    sa.Column("release", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("divergence", sa.Double, nullable=False),
    sa.Column("separation", sa.Double, nullable=False),
)

# Whether a release's manifest declares a pin, so that no gateway reads every record to find out.
declared = sa.Table(
    "gateway_declared",
    metadata,
    sa.Column("release", sa.Text, primary_key=True),
    sa.Column("pinned", sa.Integer, nullable=False),
)

# Who may do what with the registry over HTTP. A token has a digest; a tenant's own keys, which are
# given a role, have the tenant's id.
tokens = sa.Table(
    "gateway_registry_tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("digest", sa.Text),
    sa.Column("tenant", sa.Text),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("expires", sa.Double),
    sa.Column("revoked", sa.Double),
    # Whom it is for, and (JSON) who made it over HTTP and so has seen it: themselves, then whoever
    # made theirs.
    sa.Column("person", sa.Text),
    sa.Column("makers", sa.Text),
)
# What was asked of the registry over HTTP that changes something (`of` 0), and what came of it
# (`of` the sequence of the asking).
trail = sa.Table(
    "gateway_registry_trail",
    metadata,
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("of", sa.BigInteger, nullable=False, quote=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("token", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("details", sa.Text, nullable=False),
)

# Bytes that came over HTTP for a release that is to be published, by who sent them.
sent = sa.Table(
    "gateway_registry_sent",
    metadata,
    sa.Column("token", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)
