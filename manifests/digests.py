"""Digests and canonical JSON: one spelling of every value, one name for every byte string.

Canonical JSON is RFC 8785 (JCS); a digest is the string `sha256:` followed by 64 lower-case hex
digits.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import rfc8785

DIGEST_PATTERN = re.compile(r"sha256:[0-9a-f]{64}")
_CHUNK = 1 << 20


def canonical_json(value: Any) -> bytes:
    """The RFC 8785 serialization of a JSON value, UTF-8."""
    return bytes(rfc8785.dumps(value))


def short_digest(digest: str) -> str:
    """A digest's first twelve hex digits, for people."""
    return digest.removeprefix("sha256:")[:12]


def hash64(text: str) -> int:
    """The first eight bytes of a text's SHA-256 as a number below 2⁶⁴: what is drawn by it is drawn
    the same on every machine, and by nobody's choice."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def digest_bytes(data: bytes) -> str:
    """`sha256:<hex>` of a byte string."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_json(value: Any) -> str:
    """`sha256:<hex>` of a value's canonical JSON."""
    return digest_bytes(canonical_json(value))


def digest_file(path: Path) -> str:
    """`sha256:<hex>` of a file, read in chunks of 1 MiB."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
    return "sha256:" + hasher.hexdigest()
