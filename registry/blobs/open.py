"""From how a store is written in the settings to the store."""

from __future__ import annotations

from pathlib import Path

from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.blobs.local import LocalBlobs
from adapterworks.registry.blobs.store import Store


def open_blobs(where: str) -> Store:
    """The store at a folder or an `s3://bucket/prefix`.

    Raises:
        InvalidInput: another kind of URL.
    """
    scheme, separator, _ = where.partition("://")
    if separator and scheme == "s3":
        from adapterworks.registry.blobs.s3 import S3Blobs

        return S3Blobs(where)
    if separator and scheme != "file":
        raise InvalidInput(
            f"`{where}` is not a blob store", hint="give a folder or `s3://bucket/prefix`"
        )
    return LocalBlobs(Path(where.removeprefix("file://")))
