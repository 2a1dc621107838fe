"""Content-addressed bytes: a small Protocol, separate from naming.

Invariants of every store:
- a blob appears whole or not at all, under the SHA-256 of its bytes, and is never changed;
- reading checks the digest: the last chunk is not followed by a normal end unless all were right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from adapterworks.manifests.digests import DIGEST_PATTERN
from adapterworks.manifests.errors import IntegrityError, InvalidInput

CHUNK = 1 << 20
TRASH = "trash"


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A stored blob: size in bytes, `modified` in seconds since the epoch."""

    digest: str
    size: int
    modified: float


class CorruptBlob(IntegrityError):
    """A blob's bytes are not what its digest says."""


class MissingBlob(IntegrityError):
    """A blob that something names is not in the store."""


class BlobStore(Protocol):
    """Where bytes are kept."""

    @property
    def url(self) -> str:
        """How the store is written in settings and messages."""
        ...

    def put(self, digest: str, source: Path | bytes) -> None:
        """Store bytes that hash to `digest`; does nothing when they are there.

        Raises:
            CorruptBlob: the bytes do not hash to `digest`; nothing is stored.
        """
        ...

    def get(self, digest: str) -> Iterator[bytes]:
        """The bytes in chunks; consume it fully before believing any of it.

        Raises:
            MissingBlob: there is no such blob.
            CorruptBlob: after the last chunk, when the whole does not hash to `digest`.
        """
        ...

    def exists(self, digest: str) -> bool:
        """Whether the blob is there (its bytes are not read)."""
        ...

    def delete(self, digest: str) -> None:
        """Remove the blob for good, from a trash too; does nothing when it is not there."""
        ...

    def list(self) -> Iterator[BlobInfo]:
        """Every blob, in no particular order."""
        ...


class Store(BlobStore, Protocol):
    """A blob store of a registry's own: it knows whose it is, and has a trash.

    What is in the trash is not read, listed or found by anything above; a put of the same bytes
    puts them anew. Only gc looks there.
    """

    def part(self, digest: str, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` to before `stop`, in chunks; nobody has checked them.

        Whoever puts the parts together checks the whole.

        Raises:
            MissingBlob: there is no such blob.
        """
        ...

    def identity(self) -> str | None:
        """The id that the store was given; `None` if it has none yet.

        Raises:
            IntegrityError: what is in its place says no id.
        """
        ...

    def claim(self, identity: str) -> str:
        """Give the store an id if it has none; returns the one that it has then."""
        ...

    def discard(self, digest: str) -> None:
        """Move the blob to the trash; does nothing when it is not there."""
        ...

    def recover(self, digest: str) -> None:
        """Move the blob back from the trash; does nothing when it is not there."""
        ...

    def delete_discarded(self, digest: str) -> None:
        """Remove the blob from the trash for good; does nothing when it is not there."""
        ...

    def list_discarded(self) -> Iterator[BlobInfo]:
        """Every blob in the trash; `modified` is when it came there."""
        ...


def read_blob(store: BlobStore, digest: str) -> bytes:
    """A whole blob, verified."""
    return b"".join(store.get(digest))


def copy_blob(store: BlobStore, digest: str, target: Path) -> None:
    """Write a blob to a new file, verified. Not synced: copies are checked again before use."""
    with target.open("xb") as file:
        for chunk in store.get(digest):
            file.write(chunk)


def checked(digest: str, chunks: Iterable[bytes], where: str) -> Iterator[bytes]:
    """Pass chunks on and raise `CorruptBlob` at the end unless they hash to `digest`."""
    hasher = hashlib.sha256()
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk
    found = "sha256:" + hasher.hexdigest()
    if found != digest:
        raise CorruptBlob(
            f"`{where}` should be {digest} but is {found}",
            hint="its bytes changed after they were stored; restore them from another store: "
            "adapters verify --all --repair STORE",
        )


def chunks_of(source: Path | bytes) -> Iterator[bytes]:
    """A file or byte string in chunks of 1 MiB."""
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def key_of(digest: str) -> str:
    """`sha256/ab/cdef…`: the place of a blob under a store's root.

    Raises:
        InvalidInput: not a digest; keeps hostile text out of paths.
    """
    if not DIGEST_PATTERN.fullmatch(digest):
        raise InvalidInput(f"`{digest}` is not a digest")
    algorithm, _, value = digest.partition(":")
    return f"{algorithm}/{value[:2]}/{value[2:]}"


def trash_key_of(digest: str) -> str:
    """`trash/ab/cdef…`: the place of a blob that was discarded."""
    return TRASH + key_of(digest).removeprefix("sha256")


def digest_of_trash_key(key: str) -> str | None:
    """The inverse of `trash_key_of`; `None` for a foreign file."""
    return digest_of_key("sha256" + key.removeprefix(TRASH)) if key.startswith(TRASH) else None


def digest_of_key(key: str) -> str | None:
    """The inverse of `key_of`; `None` for a foreign file."""
    parts = key.split("/")
    if len(parts) != 3:
        return None
    digest = f"{parts[0]}:{parts[1]}{parts[2]}"
    return digest if DIGEST_PATTERN.fullmatch(digest) else None
