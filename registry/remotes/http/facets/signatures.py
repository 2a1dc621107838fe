"""Signatures of releases behind a server: made here, where the key is, and judged here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapterworks.manifests.refs import Ref
from adapterworks.registry.facets.signatures import Signatures
from adapterworks.registry.lifecycle import revocation, signing
from adapterworks.registry.releases.types import Event
from adapterworks.registry.remotes.http.catalog import RemoteCatalog
from adapterworks.registry.remotes.http.link import part


class RemoteSignatures(Signatures):
    """Who signed which release there."""

    def __init__(self, server: RemoteCatalog) -> None:
        super().__init__(server)
        self._server = server

    def sign(
        self,
        digest: str,
        private_key: Path,
        *,
        password: str | None = None,
        who: str,
        why: str = "",
    ) -> str:
        """Sign a release's record here, where the key is, and send the signature."""
        _, bundle = signing.sign(self._server.release(digest).to_bytes(), private_key, password)
        told = self._server.link.post(
            f"/releases/{digest}/signatures",
            dict[str, Any],
            public_key=signing.public_key_of(private_key, password),
            bundle=bundle,
            why=why,
        )
        return str(told["key"])

    def revoke(self, ref: Ref | str, key: str = revocation.EVERY, *, who: str, why: str) -> Event:
        """Say that what a key, or every one, signed of a release does not count."""
        return self._server.link.post(
            f"/releases/{part(str(ref))}/revocation", Event, key=key, why=why
        )

    def own(self, digest: str) -> dict[str, str]:
        """A release's signatures that were made there."""
        return dict(self._server.said(digest)["own_signatures"])

    def counting(self, digest: str) -> dict[str, list[str]]:
        """A release's bundles that count."""
        return dict(self._server.said(digest)["signatures"])

    def void(self, digest: str) -> dict[str, str]:
        """The keys whose signatures do not count any more, and why."""
        return dict(self._server.said(digest)["revoked"])

    def receive(self, digest: str, bundles: Mapping[str, str], *, who: str) -> None:
        """Send signatures that came with a release from elsewhere; there too nobody believes them
        before they are checked."""
        for key, bundle in bundles.items():
            way = f"/releases/{digest}/signatures"
            self._server.link.post(way, dict[str, Any], key=key, bundle=bundle)

    def require(self, digest: str, public_keys: Sequence[Path]) -> str:
        """Check that one of the keys signed the release; returns that key's id."""
        release = self._server.release(digest)
        bundles, void = self.counting(digest), self.void(digest)
        what = f"{release.name}@{digest}"
        return signing.require(release.to_bytes(), bundles, public_keys, what, void)
