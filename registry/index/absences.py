"""Which bytes are not here and why: erased for every release, or withheld from one.

Invariants:
- A row is never changed or removed: what was erased stays erased, and nothing puts it back (but
  for a migration, of what purges of an earlier version should not have erased).
- `erased` is written only by an erasure in this registry, never because somebody else says so: a
  pulled release cannot make bytes of ours unwanted.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.index import schema
from adapterworks.registry.index.database import AnyRow
from adapterworks.registry.releases.absence import ERASED, WITHHELD, Absence
from adapterworks.registry.releases.types import now

_absences, _blobs = schema.absences, schema.release_blobs
_EVERY = ""  # the release of a row that is about all of them


def erased(connection: Connection, blobs: Iterable[str]) -> dict[str, Absence]:
    """Those of the blobs that were erased, with why."""
    query = sa.select(_absences).where(
        _absences.c.release == _EVERY, _absences.c.blob.in_(list(blobs))
    )
    return {row.blob: _absence(row) for row in connection.execute(query)}


def of_release(connection: Connection, release: str) -> dict[str, Absence]:
    """The files of a release that somebody said something about, by path; erasure comes first."""
    query = (
        sa.select(_blobs.c.path, _absences)
        .join(_absences, _absences.c.blob == _blobs.c.blob)
        .where(_blobs.c.release == release, _absences.c.release.in_((_EVERY, release)))
        .order_by(_absences.c.release.desc())  # "" is the last word
    )
    return {row.path: _absence(row) for row in connection.execute(query)}


def erase(connection: Connection, blob: str, *, who: str, why: str) -> bool:
    """Note that a blob is erased; false when it was already."""
    if erased(connection, [blob]):
        return False
    _insert(connection, blob, _EVERY, ERASED, who=who, why=why)
    return True


def withhold(connection: Connection, release: str, blob: str, *, who: str, why: str) -> None:
    """Note that a release came here without a blob, once."""
    known = sa.select(_absences.c.blob).where(
        _absences.c.blob == blob, _absences.c.release == release
    )
    if connection.scalar(known) is None:
        _insert(connection, blob, release, WITHHELD, who=who, why=why)


def _insert(
    connection: Connection, blob: str, release: str, state: str, *, who: str, why: str
) -> None:
    connection.execute(
        sa.insert(_absences).values(
            blob=blob, release=release, state=state, at=now(), who=who, why=why
        )
    )


def _absence(row: AnyRow) -> Absence:
    return Absence(state=row.state, at=row.at, who=row.who, why=row.why)
