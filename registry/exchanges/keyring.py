"""A key for each tenant, in a folder of its own: who destroys it has erased what it sealed.

AES-256-GCM with a random nonce for each file; the associated data bind a file to its tenant and its
name, so that none can be put in another's place. A key is made at first use, is 32 random bytes in
a file of mode 0600 and is in no database and in no backup of one. One key seals at most 2^32 files
(NIST SP 800-38D, 8.3).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from pathlib import Path

from adapterworks.manifests.errors import IntegrityError, NotFound, Unavailable
from adapterworks.registry.blobs.local import fsync_folder

_TENANT = re.compile(r"[A-Za-z0-9_-]{1,80}")
_MAGIC = b"AWX1"
_NONCE = 12
_KEY = 32
_NAME = 8  # bytes of a key's digest that a file says it was sealed with


def default_keys(home: Path) -> Path:
    """Beside the home, not in it: a copy of the home is no copy of the keys."""
    return home.with_name(f"{home.name}-keys")


class Keyring:
    """The keys in a folder. Nothing is kept in memory: a key that is gone is gone at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def seal(self, tenant: str, name: str, data: bytes) -> bytes:
        """Encrypt; the tenant's key is made if there is none.

        Raises:
            Unavailable: the folder cannot be written.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = self._key(tenant) or self._made(tenant)
        nonce = secrets.token_bytes(_NONCE)
        return (
            _MAGIC + _digest(key) + nonce + AESGCM(key).encrypt(nonce, data, _bound(tenant, name))
        )

    def open(self, tenant: str, name: str, sealed: bytes) -> bytes:
        """Decrypt.

        Raises:
            NotFound: the tenant's key is not here (any more).
            IntegrityError: it was sealed with another key, under another name, or was changed.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = self._key(tenant)
        if key is None:
            raise NotFound(
                f"the key of tenant `{tenant}` is not in `{self.folder}`",
                hint="it was erased, or `ADAPTERS_KEYS_DIR` names another folder",
            )
        head, body = sealed[: len(_MAGIC) + _NAME], sealed[len(_MAGIC) + _NAME :]
        if head != _MAGIC + _digest(key):
            raise IntegrityError(
                f"`{name}` of tenant `{tenant}` was sealed with another key than the one in "
                f"`{self.folder}`",
                hint="give every gateway of one index the same `ADAPTERS_KEYS_DIR`",
            )
        try:
            return AESGCM(key).decrypt(body[:_NONCE], body[_NONCE:], _bound(tenant, name))
        except InvalidTag as error:
            raise IntegrityError(f"`{name}` of tenant `{tenant}` was changed") from error

    def has(self, tenant: str) -> bool:
        """Whether there is a key of a tenant in the folder."""
        return self._path(tenant).is_file()

    def destroy(self, tenant: str) -> bool:
        """Overwrite and remove a tenant's key; returns whether there was one.

        Raises:
            Unavailable: it cannot be removed.
        """
        path = self._path(tenant)
        try:
            with path.open("r+b") as file:
                file.write(secrets.token_bytes(_KEY))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
            fsync_folder(self.folder)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise Unavailable(
                f"the key `{path}` cannot be destroyed: {error.strerror}", hint="erase it again"
            ) from error
        return True

    def _key(self, tenant: str) -> bytes | None:
        try:
            key = self._path(tenant).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"the key of tenant `{tenant}` cannot be read: {error}") from error
        if len(key) != _KEY:
            raise IntegrityError(f"the key of tenant `{tenant}` is not {_KEY} bytes long")
        return key

    def _made(self, tenant: str) -> bytes:
        """A fresh key, unless somebody else makes one at the same time."""
        path = self._path(tenant)
        new = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(_KEY))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(new, path)
            new.unlink()
            fsync_folder(self.folder)
        except OSError as error:
            raise Unavailable(
                f"no key can be made in `{self.folder}`: {error.strerror}",
                hint="set `ADAPTERS_KEYS_DIR` to a folder that can be written",
            ) from error
        key = self._key(tenant)
        assert key is not None, "it was just linked"
        return key

    def _path(self, tenant: str) -> Path:
        assert _TENANT.fullmatch(tenant), "tenants' ids are made by us"
        return self.folder / f"{tenant}.key"


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(b"adapterworks key name" + key).digest()[:_NAME]


def _bound(tenant: str, name: str) -> bytes:
    return f"{tenant}\n{name}".encode()
