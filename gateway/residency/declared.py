"""Which releases declare that they want to stay loaded, kept in the index.

A manifest's `serve.pinned` stands in the release's record. Reading all records that aliases hold,
one by one, would make a start-up as long as there are releases; so each is read once, by whichever
gateway sees it first, and the index knows from then on.

Invariant: what is kept of a digest never changes, as the record behind it does not.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from adapterworks.gateway.storage.schema import declared
from adapterworks.registry.index.database import Database
from adapterworks.registry.index.schema import aliases, versions

# What aliases hold now, canaries too.
_HELD = sa.and_(
    versions.c.name == aliases.c.name,
    sa.or_(versions.c.version == aliases.c.version, versions.c.version == aliases.c.canary),
    versions.c.deleted.is_(None),
)


class Declared:
    """Blocking; call it from a thread. All of it raises `Unavailable` if the index is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unread(self) -> list[str]:
        """The digests that aliases hold and nobody has read yet."""
        known = sa.exists().where(declared.c.release == versions.c.digest)
        asked = sa.select(versions.c.digest).join_from(aliases, versions, _HELD).where(~known)
        with self._database.read() as connection:
            return list(dict.fromkeys(connection.scalars(asked)))

    def note(self, pinned: Mapping[str, bool]) -> None:
        """These have been read."""
        if not pinned:
            return
        insert = (sqlite if self._database.is_sqlite else postgresql).insert(declared)
        rows = [{"release": digest, "pinned": int(wants)} for digest, wants in pinned.items()]
        with self._database.write() as connection:
            connection.execute(insert.on_conflict_do_nothing(), rows)

    def pinned(self) -> list[str]:
        """The digests that aliases hold and that declare it."""
        asked = (
            sa.select(versions.c.digest)
            .join_from(aliases, versions, _HELD)
            .join(declared, declared.c.release == versions.c.digest)
            .where(declared.c.pinned == 1)
        )
        with self._database.read() as connection:
            return list(dict.fromkeys(connection.scalars(asked)))
