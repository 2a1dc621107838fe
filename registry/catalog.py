"""The catalog: what a registry has, and its bytes.

Invariant: everything listed is complete, nothing listed changes, and every read is verified.
Each method is one transaction; threads and processes may share a registry's stores freely.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from adapterworks.manifests.refs import Ref, parse_ref
from adapterworks.registry.blobs.store import Store
from adapterworks.registry.index import absences, lookup, names, stores, versions
from adapterworks.registry.index.database import Database
from adapterworks.registry.index.search import search
from adapterworks.registry.lifecycle import aliases, eviction, identity
from adapterworks.registry.reading import files
from adapterworks.registry.reading.checkout import checkout
from adapterworks.registry.reading.diff import Diff, diff
from adapterworks.registry.reading.seen import Seen
from adapterworks.registry.releases.absence import Absence, AbsentFile
from adapterworks.registry.releases.release import UNNAMED, Release
from adapterworks.registry.releases.types import AliasMove, NameRow, Resolved, VersionRow, Weighted


class Catalog:
    """The stores of a registry, open; as a context manager they are closed at the end.

    Attributes:
        has_index: whether its tables can be asked here; those of a server cannot.
    """

    has_index = True

    def __init__(
        self,
        database: Database,
        blobs: Store,
        home: Path,
        author: str = UNNAMED,
        most_checkouts: int | None = None,
    ) -> None:
        """Use stores that are open; `Registry.open` is the usual way."""
        self.most_checkouts = most_checkouts
        self.database = database
        self.blobs = blobs
        self.home = home
        self.author = author
        self.checkouts = home / "checkouts"
        self.arriving = home / "sent"  # uploads that are not whole yet
        self.uploads = home / "uploads"  # files of tenants, while they arrive and are put together
        self._own_store = False
        self._seen = Seen()

    def close(self) -> None:
        """Close the database's connections; idempotent."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def place(self) -> str:
        """What it is called in logs and records, which travel: by its id, not by where it is."""
        with self.database.read() as connection:
            return f"registry:{stores.identity(connection) or 'unnamed'}"

    def require_own_store(self) -> None:
        """Check, once, that blobs and index belong together before anything is written to either.

        Raises:
            Refused: they do not.
        """
        if not self._own_store:
            identity.require_own(self.database, self.blobs)
            self._own_store = True

    def resolve(self, ref: Ref | str) -> Resolved:
        """What a ref stands for now.

        Raises:
            NotFound: no such name, version, digest or alias, or it was deleted.
        """
        parsed = parse_ref(ref) if isinstance(ref, str) else ref
        with self.database.read() as connection:
            return lookup.resolve(connection, parsed)

    def find(self, digest: str) -> Resolved:
        """The live version of a release digest, whatever its name.

        Raises:
            NotFound: it was deleted, or never published here.
        """
        with self.database.read() as connection:
            found = lookup.find_live(connection, digest)
            while found is None:
                lookup.require_live(connection, digest)
                # It was published since: on PostgreSQL each statement sees what is there by then.
                found = lookup.find_live(connection, digest)
        return found

    def release(self, digest: str) -> Release:
        """The record of a release, verified against its digest.

        Raises:
            NotFound: the version was deleted, or there never was one.
            IntegrityError: the record is missing or damaged.
        """
        with self.database.read() as connection:
            lookup.require_live(connection, digest)
        return files.read_release(self.blobs, digest)

    def read(self, digest: str, path: str) -> bytes:
        """One file of a release, verified.

        Raises:
            NotFound: no such release or file.
            AbsentFile: its bytes were erased, or the release came here without them.
            IntegrityError: its bytes are missing or damaged.
        """
        return files.read_file(
            self.blobs, digest, self.release(digest), path, self.absences(digest)
        )

    def read_if_here(self, digest: str, path: str) -> bytes | None:
        """One file of a release, verified; None if it has no such file, or rightly not its bytes.

        Raises:
            NotFound: no such release.
            IntegrityError: its bytes are missing or damaged.
        """
        release = self.release(digest)
        if path not in release.files:
            return None
        try:
            return files.read_file(self.blobs, digest, release, path, self.absences(digest))
        except AbsentFile:
            return None

    def absences(self, digest: str) -> dict[str, Absence]:
        """What is known of a release's files that may not be here, by path.

        A file that was withheld may have come since; one that was erased is not read any more.
        """
        with self.database.read() as connection:
            return absences.of_release(connection, digest)

    def checkout(self, digest: str, role: str) -> Path:
        """A read-only folder with the verified files under `role/`, without that prefix.

        Args:
            role: `servable`, `adapter`, `full` or another first folder of the release.

        Raises:
            NotFound: no such release, or it has no files of that role.
            AbsentFile: all of them were erased or withheld; some are left out, which weights
                never are.
            IntegrityError: bytes are missing or damaged in the blob store.
        """
        release = self.release(digest)
        new = not (self.checkouts / digest.removeprefix("sha256:") / role).exists()
        absences = self.absences(digest)
        folder = checkout(self.blobs, self.checkouts, release, role, absences, self._seen)
        if new and self.most_checkouts is not None:
            self._make_room(self.most_checkouts)
        return folder

    def _make_room(self, most: int) -> None:
        """Remove checkouts that nobody needs until they take at most `most` bytes."""
        eviction.evict(self.database, self.checkouts, most)

    def names(self, *, limit: int = 50, after: str | None = None, text: str = "") -> list[NameRow]:
        """A page of names in alphabetical order, after `after`; see `names.list_names`."""
        with self.database.read() as connection:
            return names.list_names(connection, limit=limit, after=after, text=text)

    def name(self, name: str) -> NameRow:
        """One name's row.

        Raises:
            NotFound: there is no such name.
        """
        with self.database.read() as connection:
            found = names.get_name(connection, name)
            if found is None:
                lookup.require_name(connection, name)
        assert found is not None
        return found

    def require_name(self, name: str) -> None:
        """Check that a name exists.

        Raises:
            NotFound: it does not.
        """
        with self.database.read() as connection:
            lookup.require_name(connection, name)

    def versions(
        self, name: str, *, limit: int = 50, before: int | None = None, deleted: bool = False
    ) -> list[VersionRow]:
        """A page of a name's versions, newest first; `deleted` lists tombstones too."""
        with self.database.read() as connection:
            return lookup.list_versions(
                connection, name, limit=limit, before=before, deleted=deleted
            )

    def version(self, name: str, version: int) -> VersionRow:
        """One version's row, tombstones too.

        Raises:
            NotFound: the number was never given out.
        """
        with self.database.read() as connection:
            return lookup.get_version(connection, name, version)

    def digests(self, name: str, beginning: str) -> list[str]:
        """The digests of a name's live versions that begin so (`sha256:…`), each once."""
        with self.database.read() as connection:
            return lookup.digests(connection, name, beginning)

    def size_of_blob(self, digest: str) -> int:
        """Bytes of a file, or of the record, of a live release.

        Raises:
            NotFound: no live release has it.
            AbsentFile: it was erased.
        """
        with self.database.read() as connection:
            size = lookup.size_of_blob(connection, digest)
            gone = absences.erased(connection, [digest]).get(digest)
        if gone is not None:
            raise AbsentFile("a release", digest, gone)
        return size

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

    def revision(self) -> int:
        """A number that changes whenever a version, alias or deletion does; cheap to poll."""
        with self.database.read() as connection:
            return versions.read_revision(connection)

    def search(
        self,
        text: str = "",
        *,
        tag: str | None = None,
        base: str | None = None,
        method: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> list[VersionRow]:
        """Live versions that have every word of `text`, the tag, base and method; newest first."""
        with self.database.read() as connection:
            return search(
                connection, text, tag=tag, base=base, method=method, limit=limit, offset=offset
            )

    def diff(self, before: Ref | str, after: Ref | str) -> Diff:
        """The differences of two releases."""
        sides = [self.resolve(ref) for ref in (before, after)]
        one, other = ((side, self.release(side.digest)) for side in sides)
        return diff(self.read, one, other)
