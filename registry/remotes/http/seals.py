"""The sealed test sets of a registry, wherever it is: what builds read and add to."""

from __future__ import annotations

from typing import Any

from adapterworks.manifests.digests import digest_bytes
from adapterworks.registry.datasets.store import Datasets, SealedSet
from adapterworks.registry.index.database import Database
from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.http.registry import RemoteRegistry


def open_datasets(registry: Registry) -> Datasets:
    """The datasets and seals of a registry; of one behind a server, its seals."""
    if isinstance(registry, RemoteRegistry):
        return _RemoteSeals(registry)
    return Datasets(registry)


class _RemoteSeals(Datasets):
    """Seals behind a server; datasets themselves are read where the registry is."""

    def __init__(self, registry: RemoteRegistry) -> None:
        self._remote = registry

    @property
    def _database(self) -> Database:  # type: ignore[override]
        return self._remote.database

    def seals(self) -> list[SealedSet]:
        """Every sealed test set."""
        told = self._remote.link.get("/seals", dict[str, Any])
        return [SealedSet(value["blob"], value["owner"]) for value in told["data"]]

    def read(self, blob: str) -> bytes:
        """The bytes of a seal, hashed here."""
        return self._remote.link.whole(f"/seals/{blob}", blob)

    def seal(self, data: bytes, owner: str) -> None:
        """Seal a test set for ever."""
        blob = digest_bytes(data)
        if SealedSet(blob, owner) not in self.seals():
            self._remote.blobs.put(blob, data)
            self._remote.link.post("/seals", dict[str, Any], blob=blob, owner=owner)
