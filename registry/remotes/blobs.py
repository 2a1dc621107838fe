"""A release at another place as a store of blobs to repair from.

    adapters verify REF --repair hub:org/medical-lora@v3
    adapters verify REF --repair oci://registry.example/org/medical:v3

Invariant: read-only, and what it gives is checked against its digest like any store's bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adapterworks.manifests.errors import Refused
from adapterworks.registry.blobs.store import BlobInfo, MissingBlob, checked, chunks_of
from adapterworks.registry.releases.scratch import scratch_folder
from adapterworks.registry.remotes.held import Held


class HeldBlobs:
    """The blobs of one release at another place, its record among them.

    Args:
        scratch: a folder for downloads.
    """

    def __init__(self, held: Held, scratch: Path) -> None:
        self._held = held
        self._scratch = scratch

    @property
    def url(self) -> str:
        """The place, pinned."""
        return self._held.where

    def get(self, digest: str) -> Iterator[bytes]:
        """See `BlobStore.get`."""
        if digest == self._held.release.digest:
            yield self._held.release.to_bytes()
            return
        if self._held.size(digest) is None:
            raise MissingBlob(f"`{self.url}` has no {digest}")
        with scratch_folder(self._scratch, "repair") as folder:
            self._held.fetch(digest, folder / "blob")
            yield from checked(digest, chunks_of(folder / "blob"), self.url)

    def exists(self, digest: str) -> bool:
        """See `BlobStore.exists`."""
        return digest == self._held.release.digest or self._held.size(digest) is not None

    def list(self) -> Iterator[BlobInfo]:
        """See `BlobStore.list`; other places tell no times."""
        release = self._held.release
        for digest in dict.fromkeys(entry.digest for entry in release.files.values()):
            size = self._held.size(digest)
            if size is not None:
                yield BlobInfo(digest, size, 0.0)
        yield BlobInfo(release.digest, len(release.to_bytes()), 0.0)

    def put(self, digest: str, source: Path | bytes) -> None:
        """Refused: releases get there whole, with `adapters push`."""
        raise Refused(f"`{self.url}` is read-only", hint="use `adapters push`")

    def delete(self, digest: str) -> None:
        """Refused: what was pushed stays."""
        raise Refused(f"`{self.url}` is read-only")
