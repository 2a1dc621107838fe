"""The datasets of a registry and its sealed test sets, wherever it is: what builds read and add to.

Behind a server, records are for publishers and rows for administrators; adding, dividing and
erasing rows is done where the registry is.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import NotFound
from adapterworks.registry.datasets.erased import ErasedRow
from adapterworks.registry.datasets.listed import Dataset, SealedSet
from adapterworks.registry.datasets.store import Datasets
from adapterworks.registry.index.database import Database
from adapterworks.registry.registry import Registry
from adapterworks.registry.remotes.http.link import part
from adapterworks.registry.remotes.http.registry import RemoteRegistry


def open_datasets(registry: Registry) -> Datasets:
    """The datasets and seals of a registry."""
    if isinstance(registry, RemoteRegistry):
        return RemoteDatasets(registry)
    return Datasets(registry)


class RemoteDatasets(Datasets):
    """Datasets and seals behind a server."""

    def __init__(self, registry: RemoteRegistry) -> None:
        self._remote = registry
        self._seals: frozenset[str] = frozenset()

    @property
    def _database(self) -> Database:  # type: ignore[override]
        return self._remote.database

    def seals(self) -> builtins.list[SealedSet]:
        """Every sealed test set."""
        told = self._remote.link.get("/seals", dict[str, Any])
        found = [
            SealedSet(value["blob"], value["owner"], value.get("at", "")) for value in told["data"]
        ]
        self._seals = frozenset(one.blob for one in found)
        return found

    def erased_rows(self) -> Sequence[ErasedRow]:
        """Every row that was erased from datasets there, without why."""
        try:
            told = self._remote.link.get("/erased-rows", dict[str, Any])
        except NotFound:  # a server of before, which has noted none
            return []
        return [ErasedRow(value["mark"], value["at"]) for value in told["data"]]

    def read(self, blob: str) -> bytes:
        """The bytes of a seal that was listed, or of a dataset's rows, hashed here."""
        where = "/seals" if blob in self._seals else "/rows"
        return self._remote.link.whole(f"{where}/{blob}", blob)

    def seal(self, data: bytes, owner: str) -> None:
        """Seal a test set for ever."""
        blob = digest_bytes(data)
        if SealedSet(blob, owner) not in self.seals():
            self._remote.blobs.put(blob, data)
            self._remote.link.post("/seals", dict[str, Any], blob=blob, owner=owner)

    def get(self, name: str, selector: str | None = None) -> Dataset:
        """A version by number or digest; the newest one without."""
        told = self._remote.link.get(f"/datasets/{part(name)}", dict[str, Any], version=selector)
        return _dataset(told)

    def newest(self, name: str) -> Dataset | None:
        """The newest version of a name, if there is one."""
        try:
            return self.get(name)
        except NotFound:
            return None

    def find(self, digest: str) -> Dataset | None:
        """The dataset of a digest, whatever its name."""
        told = self._remote.link.get("/datasets", dict[str, Any], digest=digest)
        return next(map(_dataset, told["data"]), None)

    def list(self, name: str | None = None) -> builtins.list[Dataset]:
        """Every version (of a name), by name, newest first."""
        told = self._remote.link.pages("/datasets", dict[str, Any], name=name)
        return [_dataset(value) for value in told]


def _dataset(told: dict[str, Any]) -> Dataset:
    return TypeAdapter(Dataset).validate_python(
        {key: told[key] for key in ("version", "digest", "record", "at", "who", "why")}
    )
