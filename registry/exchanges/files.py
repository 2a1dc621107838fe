"""Sealed files, one folder a tenant: written whole, removed for good.

Invariant: a file that is there is complete, or does not open (the machine may have stopped while
one was written without `durable`); its name is its row's, so that whatever has no row can be found
and removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterworks.manifests.errors import NotFound, Unavailable
from adapterworks.registry.exchanges.keyring import Keyring

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Staged:
    """A sealed value on the disk beside its place, which still has what was there.

    Attributes:
        size: bytes.
    """

    size: int
    _new: Path
    _place: Path

    def keep(self) -> None:
        """Put it in its place.

        Raises:
            Unavailable: the folder cannot be written, or was erased meanwhile.
        """
        try:
            self._new.replace(self._place)
        except OSError as error:
            raise _unwritten(self._place.parent, error) from error

    def discard(self) -> None:
        """Remove it, if it is still beside its place."""
        self._new.unlink(missing_ok=True)


class SealedFiles:
    """JSON values of tenants, each in a file that only the tenant's key opens."""

    def __init__(self, folder: Path, keys: Keyring) -> None:
        self.folder = folder
        self.keys = keys

    def write(self, tenant: str, name: str, value: Any, *, durable: bool = True) -> int:
        """Write a value in the place of what was there; returns the file's size in bytes.

        Args:
            durable: whether it outlives the machine, not only the process.

        Raises:
            Unavailable: the disk is full, or the folder cannot be written.
        """
        staged = self.stage(tenant, name, value, durable=durable)
        try:
            staged.keep()
        except BaseException:
            staged.discard()
            raise
        return staged.size

    def stage(self, tenant: str, name: str, value: Any, *, durable: bool = True) -> Staged:
        """Seal a value beside its place: what is there stays until `keep`.

        Raises:
            Unavailable: as `write`.
        """
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        sealed = self.keys.seal(tenant, name, zlib.compress(data))
        path = self._path(tenant, name)
        new = path.with_name(f".{name}-{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(sealed)
                    file.flush()
                    if durable:
                        os.fsync(file.fileno())
            except BaseException:
                new.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise _unwritten(path.parent, error) from error
        return Staged(len(sealed), new, path)

    def read(self, tenant: str, name: str) -> Any:
        """A value.

        Raises:
            NotFound: it is not there, or the tenant's key is not.
            IntegrityError: it was changed.
        """
        try:
            sealed = self._path(tenant, name).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"`{name}` of tenant `{tenant}` is not kept any more") from error
        except OSError as error:
            raise Unavailable(f"`{name}` of tenant `{tenant}` cannot be read") from error
        return json.loads(zlib.decompress(self.keys.open(tenant, name, sealed)))

    def remove(self, tenant: str, name: str) -> None:
        """Remove a file, if it is there."""
        self._path(tenant, name).unlink(missing_ok=True)

    def count(self, tenant: str) -> int:
        """How many files there are of a tenant."""
        folder = self.folder / tenant
        return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0

    def remove_all(self, tenant: str) -> None:
        """Remove a tenant's files, whatever gateways write and remove beside it.

        Raises:
            Unavailable: some are still there.
        """
        folder = self._path(tenant, "x").parent
        for _ in range(_ROUNDS):  # what comes while it is emptied goes in the next
            shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                return
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise Unavailable(
                f"files of tenant `{tenant}` are still in `{folder}`: {error.strerror}",
                hint="erase it again",
            ) from error

    def old(self, before: float) -> Iterator[tuple[str, str]]:
        """Tenant and name of every file last written before a time (seconds since the epoch)."""
        if not self.folder.is_dir():
            return
        for path in self.folder.glob("*/*"):  # a folder may be erased meanwhile
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    yield path.parent.name, path.name

    def discard(self, tenant: str, name: str) -> None:
        """Remove what `old` named, half-written files included."""
        (self.folder / tenant / Path(name).name).unlink(missing_ok=True)

    def _path(self, tenant: str, name: str) -> Path:
        assert _NAME.fullmatch(tenant), "tenants' ids are made by us"
        assert _NAME.fullmatch(name), "names of rows are made by us"
        return self.folder / tenant / name


def _unwritten(folder: Path, error: OSError) -> Unavailable:
    return Unavailable(f"`{folder}` cannot be written: {error.strerror}")
