"""The registry: one object in front of blobs and index, the API that builders and gateway code use.

Invariant: everything listed is complete, nothing listed changes, and every read is verified.
Each method is one transaction; threads and processes may share a registry's stores freely.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manifests.refs import Ref, check_alias, check_name, parse_ref
from registry import aliases, index, log, names, reading, schema
from registry.blobs import BlobStore, open_blobs
from registry.checkout import checkout
from registry.database import Database
from registry.publish import publish
from registry.release import Draft, Release
from registry.types import (
    UNSET,
    AliasMove,
    Event,
    NameRow,
    Published,
    Resolved,
    Unset,
    VersionRow,
    Weighted,
)


class Registry:
    """An open registry."""

    def __init__(self, database: Database, blobs: BlobStore, home: Path) -> None:
        """Use stores that are open; `Registry.open` is the usual way."""
        self.database = database
        self.blobs = blobs
        self.home = home
        self.checkouts = home / "checkouts"

    @classmethod
    def open(cls, *, database: str, blobs: str, home: Path) -> Registry:
        """Open, creating and migrating what is not there.

        Args:
            database: SQLAlchemy URL, `sqlite:///path` or `postgresql://…`.
            blobs: a folder or `s3://bucket/prefix`.
            home: folder of this machine's checkouts.

        Raises:
            InvalidInput: a URL of another kind.
            Unavailable: the database cannot be reached or was written by a newer program.
        """
        home.mkdir(parents=True, exist_ok=True)
        opened = Database(database)
        opened.migrate(schema.NAMESPACE, schema.MIGRATIONS)
        return cls(opened, open_blobs(blobs), home)

    # Writing

    def publish(
        self, folder: Path, draft: Draft, *, alias: str | None = None, who: str, why: str = ""
    ) -> Published:
        """Publish a folder's files as the next version of `draft.name`.

        The same draft with the same bytes is the same release: it is published once, and
        publishing it again returns its version with `created` false. `alias` moves in the same
        transaction that lists the version.

        Raises:
            InvalidInput: the folder is empty or holds something else than plain files.
        """
        check_name(draft.name)
        if alias is not None:
            check_alias(alias)
        return publish(self.database, self.blobs, folder, draft, alias=alias, who=who, why=why)

    def promote(
        self,
        name: str,
        version: int,
        alias: str,
        *,
        who: str,
        why: str = "",
        expect: int | Unset | None = UNSET,
        weight: int = 100,
    ) -> AliasMove:
        """Move an alias by compare-and-set; see `aliases.promote`."""
        with self.database.write() as connection:
            return aliases.promote(
                connection,
                name,
                version,
                alias,
                who=who,
                why=why,
                expect=expect,
                weight=weight,
            )

    def rollback(self, name: str, alias: str, *, who: str, why: str = "") -> AliasMove:
        """Undo the last standing step of an alias; see `aliases.rollback`."""
        with self.database.write() as connection:
            return aliases.rollback(connection, name, alias, who=who, why=why)

    def delete(self, name: str, version: int, *, who: str, why: str = "") -> None:
        """Turn a version into a tombstone; its bytes go at the next gc.

        Raises:
            NotFound: there is no such live version.
            Conflict: an alias points to it.
        """
        with self.database.write() as connection:
            index.delete_version(connection, name, version, who=who, why=why)

    def note(
        self, name: str, version: int | None, kind: str, *, who: str, why: str = "", **data: Any
    ) -> Event:
        """Append an event of another kind (`push`, `import`, …) to a name's log."""
        with self.database.write() as connection:
            return log.append(connection, name, kind, who=who, why=why, version=version, **data)

    # Reading

    def resolve(self, ref: Ref | str) -> Resolved:
        """What a ref stands for now.

        Raises:
            NotFound: no such name, version, digest or alias, or it was deleted.
        """
        parsed = parse_ref(ref) if isinstance(ref, str) else ref
        with self.database.read() as connection:
            return index.resolve(connection, parsed)

    def release(self, digest: str) -> Release:
        """The record of a release, verified against its digest.

        Raises:
            NotFound: the version was deleted, or there never was one.
            IntegrityError: the record is missing or damaged.
        """
        with self.database.read() as connection:
            index.require_live(connection, digest)
        return reading.read_release(self.blobs, digest)

    def read(self, digest: str, path: str) -> bytes:
        """One file of a release, verified.

        Raises:
            NotFound: no such release or file.
            IntegrityError: its bytes are missing or damaged.
        """
        return reading.read_file(self.blobs, digest, self.release(digest), path)

    def checkout(self, digest: str, role: str) -> Path:
        """A read-only folder with the verified files under `role/`, without that prefix.

        Args:
            role: `servable`, `adapter`, `full` or another first folder of the release.

        Raises:
            NotFound: no such release, or it has no files of that role.
            IntegrityError: bytes are missing or damaged in the blob store.
        """
        return checkout(self.blobs, self.checkouts, self.release(digest), role)

    def versions(
        self, name: str, *, limit: int = 50, before: int | None = None, deleted: bool = False
    ) -> list[VersionRow]:
        """A page of a name's versions, newest first; `deleted` lists tombstones too.

        Raises:
            NotFound: there is no such name.
        """
        with self.database.read() as connection:
            index.require_name(connection, name)
            return index.list_versions(
                connection, name, limit=limit, before=before, deleted=deleted
            )

    def version(self, name: str, version: int) -> VersionRow:
        """One version's row, tombstones too.

        Raises:
            NotFound: the number was never given out.
        """
        with self.database.read() as connection:
            return index.get_version(connection, name, version)

    def names(self, *, limit: int = 50, after: str | None = None) -> list[NameRow]:
        """A page of names in alphabetical order, after `after`."""
        with self.database.read() as connection:
            return names.list_names(connection, limit=limit, after=after)

    def find_plan(self, plan: str) -> Resolved | None:
        """The newest live version built from a plan digest."""
        with self.database.read() as connection:
            return index.find_plan(connection, plan)

    def weights(self, name: str, alias: str) -> tuple[Weighted, ...]:
        """The alias's holder and canary with their percentages, which sum to 100.

        Raises:
            NotFound: there is no such alias.
        """
        with self.database.read() as connection:
            return aliases.weights(connection, name, alias)

    def history(self, name: str, alias: str | None = None) -> list[AliasMove]:
        """Every move of an alias (or of all of a name's aliases), oldest first."""
        with self.database.read() as connection:
            return aliases.history(connection, name, alias)

    def events(
        self, name: str, *, alias: str | None = None, limit: int = 50, before: int | None = None
    ) -> list[Event]:
        """A page of a name's log, newest first, older than sequence `before`.

        Raises:
            NotFound: there is no such name.
        """
        with self.database.read() as connection:
            index.require_name(connection, name)
            return log.events(connection, name, alias=alias, limit=limit, before=before)

    def revision(self) -> int:
        """A number that changes whenever a version, alias or deletion does; cheap to poll."""
        with self.database.read() as connection:
            return index.read_revision(connection)
