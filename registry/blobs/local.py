"""Blobs in a folder, written so that a kill at any point leaves whole blobs only.

Temporary file → hash while writing → read-only → fsync → rename → fsync of the folder.

A file under `sha256/` is therefore complete and on disk, whenever the writer was killed. What a
killed writer leaves under `tmp/` is swept by gc after a day.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.blobs.marker import MARKER, read_marker, write_marker
from adapterworks.registry.blobs.store import (
    CHUNK,
    TRASH,
    BlobInfo,
    CorruptBlob,
    MissingBlob,
    checked,
    chunks_of,
    digest_of_key,
    digest_of_trash_key,
    key_of,
    trash_key_of,
)

_RESTORE = "restore it from another store: adapters verify --all --repair STORE"


class LocalBlobs:
    """A `Store` under `root`, which is created on first use."""

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
        # What is there with another size is damaged: these bytes take its place.
        if target.is_file() and target.stat().st_size == size_of(source):
            fsync_folder(target.parent)  # whoever put it may not have come to that yet
            return
        staged = self.staging / uuid.uuid4().hex
        try:
            self.staging.mkdir(parents=True, exist_ok=True)
            make_folders(target.parent)
            _write(staged, checked(digest, chunks_of(source), str(source_name(source))))
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
            raise MissingBlob(f"`{path}` is missing", hint=_RESTORE) from error
        except OSError as error:
            raise CorruptBlob(
                f"`{path}` cannot be read: {error.strerror}",
                hint="see who owns it; or: adapters verify --all --repair STORE",
            ) from error

    def part(self, digest: str, start: int, stop: int) -> Iterator[bytes]:
        path = self.path(digest)
        try:
            with path.open("rb") as file:
                file.seek(start)
                while start < stop and (chunk := file.read(min(CHUNK, stop - start))):
                    start += len(chunk)
                    yield chunk
        except FileNotFoundError as error:
            raise MissingBlob(f"`{path}` is missing", hint=_RESTORE) from error
        except OSError as error:
            raise CorruptBlob(
                f"`{path}` cannot be read: {error.strerror}", hint=_RESTORE
            ) from error

    def exists(self, digest: str) -> bool:
        return self.path(digest).exists()

    def delete(self, digest: str) -> None:
        self.delete_discarded(digest)  # first: what is looked for is the other one
        self.path(digest).unlink(missing_ok=True)

    def list(self) -> Iterator[BlobInfo]:
        return self._list("sha256", digest_of_key)

    def identity(self) -> str | None:
        marker = self.root / MARKER
        try:
            return read_marker(marker.read_bytes(), str(marker))
        except FileNotFoundError:
            return None

    def claim(self, identity: str) -> str:
        staged = self.staging / uuid.uuid4().hex
        with self._reported():
            self.staging.mkdir(parents=True, exist_ok=True)
            try:
                _write(staged, [write_marker(identity)])
                with contextlib.suppress(FileExistsError):  # somebody was quicker
                    os.link(staged, self.root / MARKER)
                fsync_folder(self.root)
            finally:
                staged.unlink(missing_ok=True)
        return self.identity() or identity

    def discard(self, digest: str) -> None:
        path = self.path(digest)
        with self._reported(), contextlib.suppress(FileNotFoundError):
            os.utime(path)  # first: a kill in between leaves a young blob, not old trash
            self._move(path, self._discarded(digest))

    def recover(self, digest: str) -> None:
        with self._reported(), contextlib.suppress(FileNotFoundError):
            self._move(self._discarded(digest), self.path(digest))

    def delete_discarded(self, digest: str) -> None:
        self._discarded(digest).unlink(missing_ok=True)

    def list_discarded(self) -> Iterator[BlobInfo]:
        return self._list(TRASH, digest_of_trash_key)

    def _discarded(self, digest: str) -> Path:
        return self.root / trash_key_of(digest)

    def _move(self, source: Path, target: Path) -> None:
        make_folders(target.parent)
        source.rename(target)
        fsync_folder(target.parent)

    def _list(self, folder: str, digest_of: Callable[[str], str | None]) -> Iterator[BlobInfo]:
        for path in self.root.glob(f"{folder}/*/*"):
            digest = digest_of(path.relative_to(self.root).as_posix())
            # Another process's gc may remove a file between listing and looking.
            with contextlib.suppress(FileNotFoundError):
                if digest is not None:
                    stat = path.stat()
                    yield BlobInfo(digest, stat.st_size, stat.st_mtime)

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise Unavailable(
                f"`{self.root}` cannot be written: {error.strerror}",
                hint="check free space and permissions",
            ) from error


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    """A new read-only file, on disk."""
    with path.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fchmod(file.fileno(), 0o444)
        os.fsync(file.fileno())


def source_name(source: Path | bytes) -> Path | str:
    """What to call a source in a message."""
    return source if isinstance(source, Path) else "bytes in memory"


def size_of(source: Path | bytes) -> int:
    """Bytes of a source."""
    return len(source) if isinstance(source, bytes) else source.stat().st_size


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
