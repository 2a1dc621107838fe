"""What an issuer publishes: where it is asked for what, and the JSON at an address of its.

Invariant: nothing is read from an address that somebody on the way could answer for, and no answer
is read beyond a megabyte or followed elsewhere.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from adapterworks.manifests.errors import Unavailable

_MOST_ANSWER = 1024 * 1024
_MOST_S = 10.0
Fetch = Callable[[str], dict[str, Any]]


def discover(issuer: str, fetch: Fetch) -> dict[str, Any]:
    """What an issuer says of itself.

    Raises:
        Unavailable: it does not answer, or says that it is another one.
    """
    told = fetch(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if told.get("issuer") != issuer:
        raise Unavailable(
            f"`{issuer}` says that it is another issuer",
            hint="`issuer` is to be written exactly as it says it itself",
        )
    return told


def fetch_json(url: str) -> dict[str, Any]:
    """The JSON object at an address.

    Raises:
        Unavailable: there is none.
    """
    import httpx2

    try:
        with (
            httpx2.Client(timeout=5.0, follow_redirects=False) as client,
            client.stream("GET", url) as answer,
        ):
            data = b""
            end = time.monotonic() + _MOST_S
            for piece in answer.iter_bytes():
                data += piece
                if time.monotonic() > end:
                    raise Unavailable(f"`{url}` does not come to an end")
                if len(data) > _MOST_ANSWER:
                    raise Unavailable(f"`{url}` answers with more than a megabyte")
            status = answer.status_code
        values = _json(data)
    except httpx2.RequestError as error:
        raise Unavailable(f"`{url}` does not answer: {type(error).__name__}") from error
    if status != 200 or values is None:
        raise Unavailable(f"`{url}` answers with status {status}, and not with an object")
    return values


def check_secure(url: str) -> str:
    """An address that nobody on the way can answer for.

    Raises:
        ValueError: it is none, or plain HTTP to another machine.
    """
    parts = urlsplit(url)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("should be an address such as `https://login.example/realms/team`")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise ValueError("should begin with `https://`: who is on the way could sign as anybody")
    return url


def secure(address: str) -> str:
    """An address that an issuer names.

    Raises:
        Unavailable: it is none, or one to which others could answer.
    """
    try:
        return check_secure(address.partition("?")[0]) and address
    except ValueError as error:
        raise Unavailable(f"the issuer names an address that {error}") from error


def _json(data: bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None
