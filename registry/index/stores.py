"""What the index knows of its blob store: its id, which publishes began, what a gc moves now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.index import schema
from adapterworks.registry.index.clock import now_s
from adapterworks.registry.releases.types import now

_store, _begun, _doomed = schema.store, schema.begun, schema.doomed
_versions, _blobs = schema.versions, schema.release_blobs


def identity(connection: Connection) -> str | None:
    """The id of the store that this index writes to; `None` before its first write."""
    found: str | None = connection.scalar(sa.select(_store.c.id))
    return found


def keep_identity(connection: Connection, wanted: str) -> str:
    """Keep an id if there is none yet; returns the one that is kept."""
    kept = identity(connection)
    if kept is None:
        connection.execute(sa.insert(_store).values(one=1, id=wanted, at=now()))
    return kept or wanted


def is_blank(connection: Connection) -> bool:
    """Whether nothing was ever published here, nor begun to be."""
    listed = connection.scalar(sa.select(_versions.c.name).limit(1))
    return listed is None and connection.scalar(sa.select(_begun.c.release).limit(1)) is None


def newest_live(connection: Connection, count: int) -> Sequence[str]:
    """The digests of the newest live versions."""
    query = sa.select(_versions.c.digest).where(_versions.c.deleted.is_(None))
    return connection.scalars(query.order_by(_versions.c.published.desc()).limit(count)).all()


def begin(connection: Connection, release: str) -> None:
    """Note that a record is about to be put."""
    known = sa.select(_begun.c.release).where(_begun.c.release == release)
    if connection.scalar(known) is None:
        connection.execute(sa.insert(_begun).values(release=release, at=now()))


def forget_begun(connection: Connection, releases: Iterable[str]) -> None:
    """Take the notes back: the releases are listed, or their records gone."""
    connection.execute(sa.delete(_begun).where(_begun.c.release.in_(list(releases))))


def known(connection: Connection, blobs: Sequence[str]) -> set[str]:
    """Those of the blobs that belong to a release that was listed or begun here."""
    listed = sa.select(_blobs.c.blob).where(_blobs.c.blob.in_(blobs))
    begun = sa.select(_begun.c.release).where(_begun.c.release.in_(blobs))
    return set(connection.scalars(sa.union(listed, begun)))


def doom(connection: Connection, blobs: Sequence[str], seconds: float) -> None:
    """Note that blobs are being moved to the trash, for some seconds at most."""
    forgive(connection, blobs)
    if blobs:
        until = now_s(connection) + seconds
        connection.execute(sa.insert(_doomed), [{"blob": blob, "until": until} for blob in blobs])


def forgive(connection: Connection, blobs: Sequence[str]) -> None:
    """Take that back."""
    connection.execute(sa.delete(_doomed).where(_doomed.c.blob.in_(blobs)))


def are_doomed(connection: Connection, blobs: Iterable[str]) -> bool:
    """Whether one of the blobs is being moved to the trash now."""
    query = sa.select(_doomed.c.blob).where(
        _doomed.c.blob.in_(list(blobs)), _doomed.c.until > now_s(connection)
    )
    return connection.scalar(query.limit(1)) is not None
