"""Upkeep: whether everything is as it was published, and what of it goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adapterworks.manifests.errors import Refused
from adapterworks.manifests.refs import Ref
from adapterworks.registry.blobs.store import BlobStore
from adapterworks.registry.catalog import Catalog
from adapterworks.registry.lifecycle import erase as erasing
from adapterworks.registry.lifecycle import gc, identity
from adapterworks.registry.lifecycle import purge as purging
from adapterworks.registry.lifecycle import rebuild as rebuilding
from adapterworks.registry.lifecycle.erase import Erasure
from adapterworks.registry.lifecycle.rebuild import Unlisted
from adapterworks.registry.lifecycle.verify import Problem, Verifier, VerifyReport, live_versions
from adapterworks.registry.releases.deposit import Deposit
from adapterworks.registry.releases.types import Resolved


class Upkeep:
    """What whoever runs a registry does with it (`Registry.upkeep`)."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def gc(
        self, *, grace: float = gc.GRACE_S, unlisted: bool = False, dry_run: bool = False
    ) -> gc.GcReport:
        """Move bytes that no live version and no lease needs to the trash; see `gc.collect`.

        Raises:
            Refused: the store is another index's, or has what this one never listed.
        """
        if dry_run:
            identity.require_own(self._catalog.database, self._catalog.blobs, claim=False)
        else:
            self._catalog.require_own_store()
        return gc.collect(
            self._catalog.database,
            self._catalog.blobs,
            self._catalog.checkouts,
            grace=grace,
            unlisted=unlisted,
            dry_run=dry_run,
            arriving=(self._catalog.arriving, self._catalog.uploads),
        )

    def unlisted(self, *, take: Sequence[str] = ()) -> list[Unlisted]:
        """The releases in the store that this index does not list."""
        return rebuilding.unlisted(self._catalog.database, self._catalog.blobs, take=take)

    def unlisted_deposits(self) -> list[Deposit]:
        """What the store has of datasets, seals and files that this index does not know."""
        return rebuilding.unlisted_deposits(self._catalog.database, self._catalog.blobs)

    def rebuild_index(self, *, take: Sequence[str] = (), who: str) -> list[Resolved]:
        """List what is in the store and not listed; see `rebuild.rebuild`.

        Args:
            take: digests of records to list although another release has them as a file.

        Raises:
            Refused: the store is another index's.
        """
        return rebuilding.rebuild(self._catalog.database, self._catalog.blobs, take=take, who=who)

    def erase(self, blob: str, *, who: str, why: str) -> Erasure:
        """Remove a file's bytes for good; records keep their digest. Doing it again goes on.

        Raises:
            NotFound: no release has them.
            Refused: a live release cannot be served or proved without them.
        """
        self._catalog.require_own_store()
        return erasing.erase(
            self._catalog.database, self._catalog.blobs, self._catalog.home, blob, who=who, why=why
        )

    def look_at_erasure(self, blob: str) -> Erasure:
        """What erasing a file's bytes would concern.

        Raises:
            NotFound: no release has them.
        """
        with self._catalog.database.read() as connection:
            return erasing.look(connection, blob)

    def purge(
        self, name: str, version: int, *, with_aliases: bool = False, who: str, why: str
    ) -> purging.Purge:
        """Delete a version and erase at once what is its alone; again, it finishes the rest.

        Raises:
            NotFound: the number was never given out.
            Conflict: an alias points to it.
        """
        self._catalog.require_own_store()
        if self._catalog.version(name, version).deleted is None:
            with self._catalog.database.write() as connection:
                purging.delete(
                    connection, name, version, with_aliases=with_aliases, who=who, why=why
                )
        return purging.erase_rest(
            self._catalog.database,
            self._catalog.blobs,
            self._catalog.home,
            name,
            version,
            who=who,
            why=why,
        )

    def look_at_purge(self, name: str, version: int) -> purging.Purge:
        """What purging a version would concern.

        Raises:
            NotFound: the number was never given out.
        """
        with self._catalog.database.read() as connection:
            return purging.look(connection, name, version)

    def verify(
        self,
        ref: Ref | str | None = None,
        *,
        repair_from: BlobStore | None = None,
        public_keys: Sequence[Path] = (),
    ) -> VerifyReport:
        """Check one release, or with no ref every live one and the index itself.

        Args:
            repair_from: a store to take good bytes from when ours are missing or damaged.
            public_keys: when given, each release must be signed by one of them.
        """
        foreign = identity.difference(self._catalog.database, self._catalog.blobs)
        if foreign is not None and repair_from is not None:
            raise Refused(foreign, hint="repair the store of this index: set `ADAPTERS_BLOBS`")
        verifier = Verifier(
            self._catalog.database,
            self._catalog.blobs,
            repair_from=repair_from,
            public_keys=public_keys,
        )
        if ref is not None:
            verifier.verify(self._catalog.resolve(ref))
            return verifier.report
        for resolved in live_versions(self._catalog.database):
            verifier.verify(resolved)
        verifier.verify_index()
        if foreign is not None:
            verifier.report.problems.insert(0, Problem("index", "(store)", None, foreign))
        return verifier.report
