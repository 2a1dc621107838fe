"""Signatures of releases: made here, come from elsewhere, taken back, asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.refs import Ref
from adapterworks.registry.catalog import Catalog
from adapterworks.registry.index import log, lookup
from adapterworks.registry.lifecycle import revocation, signing
from adapterworks.registry.releases.types import Event


class Signatures:
    """Who signed which release (`Registry.signatures`)."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def sign(
        self,
        digest: str,
        private_key: Path,
        *,
        password: str | None = None,
        who: str,
        why: str = "",
    ) -> str:
        """Sign a release's record and keep the signature beside it; returns the key's id.

        Raises:
            NotFound: no such release.
            InvalidInput: the key cannot be used.
        """
        release = self._catalog.release(digest)
        key, bundle = signing.sign(release.to_bytes(), private_key, password)
        self._keep(digest, key, bundle, who=who, why=why)
        return key

    def add(self, digest: str, public_key: Path, bundle: str, *, who: str, why: str = "") -> str:
        """Keep a signature that was made elsewhere just now; returns the key's id.

        Raises:
            NotFound: no such release.
            Refused: it is not this key's signature of this release.
        """
        release = self._catalog.release(digest)
        key = signing.key_id(public_key)
        if not signing.fits(release.to_bytes(), bundle, public_key):
            raise Refused(
                f"the signature is not by this key, or not of `{release.name}@{digest}`",
                hint="adapters sign REF --key KEY",
            )
        self._keep(digest, key, bundle, who=who, why=why)
        return key

    def _keep(self, digest: str, key: str, bundle: str, *, who: str, why: str) -> None:
        with self._catalog.database.write() as connection:
            live = lookup.find_live(connection, digest)
            new = live is not None and signing.store(connection, digest, key, bundle, who=who)
            void = signing.void(connection, digest)
            if live is not None and (new or key in void):
                bundle = signing.stored(connection, digest)[key]
                log.append(
                    connection,
                    live.name,
                    "sign",
                    who=who,
                    why=why,
                    version=live.version,
                    key=key,
                    bundle=digest_bytes(bundle.encode()),
                )

    def revoke(self, ref: Ref | str, key: str = revocation.EVERY, *, who: str, why: str) -> Event:
        """Say that what a key, or every one, signed of a release up to now does not count.

        Args:
            key: its id; empty for every key.

        Raises:
            NotFound: no such release.
        """
        resolved = self._catalog.resolve(ref)
        with self._catalog.database.write() as connection:
            return revocation.revoke(connection, resolved, key, who=who, why=why)

    def own(self, digest: str) -> dict[str, str]:
        """A release's signatures that were made here: key id → bundle (JSON)."""
        with self._catalog.database.read() as connection:
            return signing.stored(connection, digest)

    def counting(self, digest: str) -> dict[str, list[str]]:
        """A release's bundles that count, by the key that is said to have made them."""
        with self._catalog.database.read() as connection:
            return signing.known(connection, digest)

    def void(self, digest: str) -> dict[str, str]:
        """The keys whose signatures of a release do not count any more, and why."""
        with self._catalog.database.read() as connection:
            return signing.void(connection, digest)

    def receive(self, digest: str, bundles: Mapping[str, str], *, who: str) -> None:
        """Keep signatures that came with a release from elsewhere; they are checked when used."""
        with self._catalog.database.write() as connection:
            signing.receive(connection, digest, bundles, who=who)

    def require_bundle(self, digest: str, bundle: str, public_keys: Sequence[Path]) -> str:
        """Check a signature that came in a file; returns the id of the key that it is by.

        Raises:
            Refused: it is by none of the keys, of another record, or revoked here.
            NotFound: no such release.
        """
        release = self._catalog.release(digest)
        with self._catalog.database.read() as connection:
            void = revocation.of(connection, digest)
        keys = {signing.key_id(key): [bundle] for key in public_keys}
        why = {key: reason for key in keys if (reason := void.reason(key)) is not None}
        counting = {key: held for key, held in keys.items() if key not in why}
        what = f"{release.name}@{digest}"
        return signing.require(release.to_bytes(), counting, public_keys, what, why)

    def require(self, digest: str, public_keys: Sequence[Path]) -> str:
        """Check that one of the keys signed the release; returns that key's id.

        Raises:
            Refused: no good signature by any of the keys.
            NotFound: no such release.
        """
        release = self._catalog.release(digest)
        with self._catalog.database.read() as connection:
            counting, void = signing.known(connection, digest), signing.void(connection, digest)
        what = f"{release.name}@{digest}"
        return signing.require(release.to_bytes(), counting, public_keys, what, void)
