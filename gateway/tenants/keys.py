"""API keys: made once, shown once, stored as a digest.

    key      = "aw-" id "-" secret check
    id       = 8 characters, names the key in the index, in `adapters tenant key list` and in logs
    secret   = 32 characters, 160 random bits
    check    = 7 characters, CRC-32 of all before it

Tokens of the registry (`gateway/tokens/`) are made alike, and begin with "awr-".

The alphabet is base32's, lower case. The checksum lets a gateway refuse a mistyped key, and a
secret scanner recognise a leaked one, without asking anybody.

A key is stored as its SHA-256. A slow hash (bcrypt, argon2) protects passwords because people
choose them from few; 160 random bits cannot be guessed at any speed, and the hash is on every
request's path. A server-side pepper (HMAC) would only add that a stolen index cannot confirm a key
the thief already holds, at the price of one more secret to share among all gateways; so there is
none.

Invariant: a key's text is in `NewKey.text` and nowhere else: no repr, no log, no table has it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
import zlib
from dataclasses import dataclass, field

TENANT, REGISTRY = "aw", "awr"
_KEYS = {kind: re.compile(kind + r"-([a-z2-7]{8})-[a-z2-7]{39}") for kind in (TENANT, REGISTRY)}
_NO_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key just made: `text` is what the caller is shown, once; the other two are stored."""

    id: str
    digest: str
    text: str = field(repr=False)


def new_key(kind: str = TENANT) -> NewKey:
    """A fresh random key of a tenant, or token of the registry."""
    key_id = _base32(secrets.token_bytes(5))
    body = f"{kind}-{key_id}-{_base32(secrets.token_bytes(20))}"
    text = body + _check(body)
    return NewKey(key_id, digest_key(text), text)


def state_of(expires: float | None, revoked: float | None) -> str:
    """What a key or token is now: `active`, `expired` or `revoked`."""
    if revoked is not None:
        return "revoked"
    return "expired" if expires is not None and expires <= time.time() else "active"


def key_id_of(text: str, kind: str = TENANT) -> str | None:
    """The id inside a well-formed key of a kind; None for anything else."""
    match = _KEYS[kind].fullmatch(text)
    if match is None or not hmac.compare_digest(_check(text[:-7]), text[-7:]):
        return None
    return match[1]


def digest_key(text: str) -> str:
    """SHA-256 of a key's text, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def matches(text: str, digest: str | None) -> bool:
    """Whether `text` is the key of `digest`, in time that does not depend on either.

    `digest` None (no such key) takes the same time as a wrong one.
    """
    equal = hmac.compare_digest(digest_key(text), digest or _NO_DIGEST)
    return equal and digest is not None


def _check(body: str) -> str:
    return _base32(zlib.crc32(body.encode()).to_bytes(4, "big"))


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()
