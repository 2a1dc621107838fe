"""Blobs in a folder, written so that a kill at any point leaves whole blobs only.

Temporary file → hash while writing → read-only → fsync → rename → fsync of the folder.

A file under `sha256/` is therefore complete and on disk, whenever the writer was killed. What a
killed writer leaves under `tmp/` is swept by gc after a day.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.blobs.store import (
    BlobInfo,
    MissingBlob,
    checked,
    chunks_of,
    digest_of_key,
    key_of,
)


class LocalBlobs:
    """A `BlobStore` under `root`, which is created on first use."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.staging = root / "tmp"

    @property
    def url(self) -> str:
        return str(self.root)

    def path(self, digest: str) -> Path:
        """Where a blob is, if it is."""
        return self.root / key_of(digest)

    def put(self, digest: str, source: Path | bytes) -> None:
        target = self.path(digest)
        if target.exists():
            fsync_folder(target.parent)  # whoever put it may not have come to that yet
            return
        staged = self.staging / uuid.uuid4().hex
        try:
            self.staging.mkdir(parents=True, exist_ok=True)
            make_folders(target.parent)
            with staged.open("xb") as file:
                for chunk in checked(digest, chunks_of(source), str(source_name(source))):
                    file.write(chunk)
                file.flush()
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
            staged.rename(target)
            fsync_folder(target.parent)
        except OSError as error:
            raise Unavailable(
                f"`{self.root}` cannot be written: {error.strerror}",
                hint="check free space and permissions",
            ) from error
        finally:
            with contextlib.suppress(OSError):
                staged.unlink()

    def get(self, digest: str) -> Iterator[bytes]:
        path = self.path(digest)
        try:
            yield from checked(digest, chunks_of(path), str(path))
        except FileNotFoundError as error:
            raise MissingBlob(
                f"`{path}` is missing",
                hint="restore it from another store: adapters verify --all --repair STORE",
            ) from error

    def exists(self, digest: str) -> bool:
        return self.path(digest).exists()

    def delete(self, digest: str) -> None:
        self.path(digest).unlink(missing_ok=True)

    def list(self) -> Iterator[BlobInfo]:
        for path in self.root.glob("sha256/*/*"):
            digest = digest_of_key(path.relative_to(self.root).as_posix())
            # Another process's gc may remove a file between listing and looking.
            with contextlib.suppress(FileNotFoundError):
                if digest is not None:
                    stat = path.stat()
                    yield BlobInfo(digest, stat.st_size, stat.st_mtime)


def source_name(source: Path | bytes) -> Path | str:
    """What to call a source in a message."""
    return source if isinstance(source, Path) else "bytes in memory"


def make_folders(folder: Path) -> None:
    """Create `folder` and its parents, each entry on disk before anything is put into it."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for entry in reversed(missing):
        entry.mkdir(exist_ok=True)
        fsync_folder(entry.parent)


def fsync_folder(folder: Path) -> None:
    """Put a folder's entries on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
