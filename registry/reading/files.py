"""Reading releases: records and files, verified, with errors that name the file and the release."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from adapterworks.manifests.errors import IntegrityError, NotFound
from adapterworks.registry.blobs.store import BlobStore, CorruptBlob, MissingBlob, read_blob
from adapterworks.registry.releases.release import Release


def read_release(blobs: BlobStore, digest: str) -> Release:
    """The record of a release digest.

    Raises:
        IntegrityError: the record is missing or damaged.
    """
    try:
        data = read_blob(blobs, digest)
    except (CorruptBlob, MissingBlob) as error:
        raise type(error)(
            f"the record of release {digest} is damaged: {error.message}", hint=error.hint
        ) from error
    try:
        return Release.model_validate_json(data)
    except ValidationError as error:
        raise IntegrityError(
            f"blob {digest} is not a release record of this version",
            hint="upgrade adapterworks, or check the digest",
        ) from error


def read_file(blobs: BlobStore, digest: str, release: Release, path: str) -> bytes:
    """One file of a release, verified.

    Raises:
        NotFound: the release has no such file.
        IntegrityError: its bytes are missing or damaged.
    """
    entry = release.files.get(path)
    if entry is None:
        raise NotFound(
            f"release {digest} of `{release.name}` has no file `{path}`",
            hint=f"see its files: adapters show {release.name}@{digest}",
        )
    with explained(release, path):
        return read_blob(blobs, entry.digest)


@contextmanager
def explained(release: Release, path: str) -> Iterator[None]:
    """Add the file, the release and the repair to an error about a blob."""
    try:
        yield
    except (CorruptBlob, MissingBlob) as error:
        ref = f"{release.name}@{release.digest}"
        raise type(error)(
            f"`{path}` of release `{ref}` is damaged: {error.message}",
            hint=f"restore it from another store: adapters verify {ref} --repair STORE",
        ) from error
