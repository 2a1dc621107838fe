"""Upkeep of a registry behind a server: one release is verified here, all else is done there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from adapterworks.manifests.errors import IntegrityError, NotFound
from adapterworks.manifests.refs import Ref
from adapterworks.registry.blobs.store import BlobStore
from adapterworks.registry.facets.signatures import Signatures
from adapterworks.registry.facets.upkeep import Upkeep
from adapterworks.registry.lifecycle import erase as erasing
from adapterworks.registry.lifecycle import gc
from adapterworks.registry.lifecycle.erase import Erasure
from adapterworks.registry.lifecycle.purge import Purge
from adapterworks.registry.lifecycle.reviewed import remove_reviews
from adapterworks.registry.lifecycle.verify import VerifyReport
from adapterworks.registry.reading.checkout import locked, remove_tree
from adapterworks.registry.reading.files import read_release
from adapterworks.registry.remotes.http.catalog import RemoteCatalog
from adapterworks.registry.remotes.http.link import part
from adapterworks.registry.remotes.http.paths import version_path
from adapterworks.registry.remotes.http.verify import verify

_LONG_S = 3600.0


@dataclass(frozen=True, slots=True)
class Collected:
    """What a gc of a server came to.

    Attributes:
        expired: captured answers.
        jobs: folders of jobs that had ended.
    """

    report: gc.GcReport
    expired: int
    jobs: int


class RemoteUpkeep(Upkeep):
    """What can be done from here with a registry there."""

    def __init__(self, server: RemoteCatalog, signatures: Signatures) -> None:
        super().__init__(server)
        self._server = server
        self._signatures = signatures

    def gc(
        self, *, grace: float = gc.GRACE_S, unlisted: bool = False, dry_run: bool = False
    ) -> gc.GcReport:
        """As `Upkeep.gc`, there."""
        return self.collect(grace=grace, unlisted=unlisted, dry_run=dry_run).report

    def collect(self, *, grace: float, unlisted: bool, dry_run: bool) -> Collected:
        """As `gc`, with what goes beside it on the server's machine."""
        return self._server.link.wait(
            "/collection",
            Collected,
            seconds=_LONG_S,
            grace=grace,
            unlisted=unlisted,
            dry_run=dry_run,
        )

    def look_at_erasure(self, blob: str) -> Erasure:
        """What erasing a file's bytes would concern."""
        return self._server.link.get(f"/erasures/{part(blob)}", Erasure)

    def erase(self, blob: str, *, who: str, why: str) -> Erasure:
        """Remove a file's bytes for good, there and of this machine's copies of its releases."""
        done = self._server.link.wait(f"/erasures/{part(blob)}", Erasure, seconds=_LONG_S, why=why)
        here = tuple(erasing.delete_copies(self._server.home, blob, done.size))
        ours = remove_reviews(self._server.home, erasing.releases_with_answers(done))
        return replace(done, copies=(*done.copies, *here), reviews=(*done.reviews, *ours))

    def look_at_purge(self, name: str, version: int) -> Purge:
        """What purging a version would concern."""
        return self._server.link.get(f"{version_path(name, version)}/purge", Purge)

    def purge(
        self, name: str, version: int, *, with_aliases: bool = False, who: str, why: str
    ) -> Purge:
        """Delete a version and erase at once what is its alone, there and of this machine.

        Equal copies here are found by the record's sizes; where the version was deleted before, the
        server gives no record, and its checkout alone goes.
        """
        sizes = self._sizes(name, version)
        done = self._server.link.wait(
            f"{version_path(name, version)}/purge",
            Purge,
            seconds=_LONG_S,
            with_aliases=with_aliases,
            why=why,
        )
        home, checkouts = self._server.home, self._server.checkouts
        here: list[Path] = []
        checkout = checkouts / done.digest.removeprefix("sha256:")
        with locked(checkouts, done.digest), suppress(FileNotFoundError):
            remove_tree(checkout, checkouts)
            here.append(checkout)
        for blob in done.alone:
            if blob in sizes:
                here += erasing.delete_copies(home, blob, sizes[blob])
        ours = remove_reviews(home, [done.digest])
        return replace(
            done, copies=(*done.copies, *here), reviews=tuple(sorted({*done.reviews, *ours}))
        )

    def _sizes(self, name: str, version: int) -> dict[str, int]:
        """Bytes of a live version's blobs; nothing of one that is none any more."""
        try:
            digest = self._server.version(name, version).digest
            release = read_release(self._server.blobs, digest)
        except (NotFound, IntegrityError):
            return {}
        return {entry.digest: entry.size for entry in release.files.values()}

    def verify(
        self,
        ref: Ref | str | None = None,
        *,
        repair_from: BlobStore | None = None,
        public_keys: Sequence[Path] = (),
    ) -> VerifyReport:
        """Fetch and hash every byte of one release, and check its signatures."""
        if ref is None or repair_from is not None:
            self._server.refuse()
        return verify(self._server, self._signatures, self._server.resolve(ref), public_keys)
