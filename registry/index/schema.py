"""The index's tables as they are now; `migrations.py` makes them.

Invariants, held by the database itself (triggers), not by convention:
- a version's row never changes but for its tombstone, which is written once, and is never removed;
- the log, the signatures and the absences (what was erased or withheld) are append-only.
"""

from __future__ import annotations

import sqlalchemy as sa

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
