"""Signatures of deliveries, as https://www.standardwebhooks.com and OpenAI's clients have them.

`webhook-signature: v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

from adapterworks.manifests.errors import InvalidInput

PREFIX = "whsec_"
_LEAST, _MOST = 24, 64  # bytes of a secret, by the specification


def new_secret() -> str:
    """A secret that nobody has."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def parse_secret(text: str, variable: str) -> bytes:
    """The key that a secret stands for.

    Raises:
        InvalidInput: it is none; the message names the variable it is in, and not the text.
    """
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(PREFIX) or not _LEAST <= len(key) <= _MOST:
        raise InvalidInput(
            f"`{variable}` holds no secret: `{PREFIX}` and the base64 of {_LEAST} to {_MOST} bytes",
            hint="make one: adapters webhook secret",
        )
    return key


def sign(key: bytes, event: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of a delivery.

    Args:
        event: its id, the same each time that it is sent.
        at: when it is sent, seconds since the epoch; receivers refuse what is minutes old.
    """
    signed = b".".join([event.encode(), str(at).encode(), body])
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": event,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{signature}",
    }
