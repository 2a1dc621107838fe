"""Upkeep of a registry behind a server: one release is verified here, all else is done there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adapterworks.manifests.refs import Ref
from adapterworks.registry.blobs.store import BlobStore
from adapterworks.registry.facets.signatures import Signatures
from adapterworks.registry.facets.upkeep import Upkeep
from adapterworks.registry.lifecycle.verify import VerifyReport
from adapterworks.registry.remotes.http.catalog import RemoteCatalog
from adapterworks.registry.remotes.http.verify import verify


class RemoteUpkeep(Upkeep):
    """What can be done from here with a registry there."""

    def __init__(self, server: RemoteCatalog, signatures: Signatures) -> None:
        super().__init__(server)
        self._server = server
        self._signatures = signatures

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
