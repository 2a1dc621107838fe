"""Reading releases: records and files, verified, with errors that name the file and the release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from adapterworks.manifests.errors import IntegrityError, NotFound
from adapterworks.registry.blobs.store import BlobStore, CorruptBlob, MissingBlob, read_blob
from adapterworks.registry.releases.absence import ERASED, Absence, AbsentFile
from adapterworks.registry.releases.record import NotARecord, read_record
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
        return read_record(data)
    except NotARecord as error:
        raise IntegrityError(
            f"blob {digest} is not a release record of this version: {error.message}",
            hint="upgrade adapterworks, or check the digest",
        ) from error


def read_file(
    blobs: BlobStore,
    digest: str,
    release: Release,
    path: str,
    absences: Mapping[str, Absence] = MappingProxyType({}),
) -> bytes:
    """One file of a release, verified.

    Args:
        absences: what is known of the release's files that may not be here, by path.

    Raises:
        NotFound: the release has no such file.
        AbsentFile: its bytes were erased, or the release came here without them.
        IntegrityError: its bytes are missing or damaged.
    """
    entry = release.files.get(path)
    if entry is None:
        raise NotFound(
            f"release {digest} of `{release.name}` has no file `{path}`",
            hint=f"see its files: adapters show {release.name}@{digest}",
        )
    absence = absences.get(path)
    ref = f"{release.name}@{digest}"
    if absence is not None and absence.state == ERASED:
        raise AbsentFile(ref, path, absence)
    try:
        with explained(release, path):
            return read_blob(blobs, entry.digest)
    except MissingBlob as error:
        if absence is not None:
            raise AbsentFile(ref, path, absence) from error
        raise


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
