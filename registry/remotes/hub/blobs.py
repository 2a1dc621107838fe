"""A pushed release as a store of blobs to repair from: `adapters verify REF --repair hub:…@v3`.

Invariant: read-only, and what it gives is checked against its digest like any store's bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adapterworks.manifests.errors import Refused
from adapterworks.registry.blobs.store import BlobInfo, MissingBlob, checked, chunks_of
from adapterworks.registry.releases.scratch import scratch_folder
from adapterworks.registry.remotes.hub.client import Hub
from adapterworks.registry.remotes.hub.layout import RECORD, layout
from adapterworks.registry.remotes.hub.names import HubSource, parse_source
from adapterworks.registry.remotes.hub.record import fetch_record, parse_record


class HubBlobs:
    """The blobs of the one release at a Hub repository's revision.

    Args:
        where: `hub:org/name@revision`, a repository we pushed to.
        scratch: a folder for downloads.

    Raises:
        NotFound: no such repository or revision, or no right to see it.
        Refused: it holds no release.
    """

    def __init__(self, where: str, scratch: Path) -> None:
        self._hub = Hub()
        self._state = self._hub.state(parse_source(where))
        self._scratch = scratch
        if RECORD not in self._state.files:
            raise Refused(
                f"`{where}` was not pushed by adapterworks: it holds no release to repair from"
            )
        release = parse_record(
            fetch_record(self._hub, self._state, scratch), self._state.repository
        )
        self._paths = {release.files[path].digest: at for at, path in layout(release).items()}
        self._paths[release.digest] = RECORD

    @property
    def url(self) -> str:
        """The repository at its commit."""
        return str(HubSource(self._state.repository, self._state.commit))

    def get(self, digest: str) -> Iterator[bytes]:
        """See `BlobStore.get`."""
        path = self._paths.get(digest)
        if path is None or path not in self._state.files:
            raise MissingBlob(f"`{self.url}` has no {digest}")
        limit = self._state.files[path]
        with scratch_folder(self._scratch, "repair") as folder:
            file = self._hub.download(self._state, path, folder, limit=limit)
            yield from checked(digest, chunks_of(file), f"{self.url}/{path}")

    def exists(self, digest: str) -> bool:
        """See `BlobStore.exists`."""
        return self._paths.get(digest) in self._state.files

    def list(self) -> Iterator[BlobInfo]:
        """See `BlobStore.list`; the Hub tells no times."""
        for digest, path in self._paths.items():
            if path in self._state.files:
                yield BlobInfo(digest, self._state.files[path], 0.0)

    def put(self, digest: str, source: Path | bytes) -> None:
        """Refused: releases get to the Hub whole, with `adapters push`."""
        raise Refused(f"`{self.url}` is read-only", hint="use `adapters push`")

    def delete(self, digest: str) -> None:
        """Refused: a pushed commit stays."""
        raise Refused(f"`{self.url}` is read-only")
