"""A registry's errors as ours.

401, 403 → Refused       404 → NotFound       409, 412, 416 → Conflict
429, 5xx, timeouts, no network, redirects
without an end or to no address → Unavailable what it says itself is told, bounded
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from adapterworks.manifests.errors import (
    AdapterworksError,
    Conflict,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
)


@contextmanager
def reaching(action: str, where: str) -> Iterator[None]:
    """Turn the client's exceptions inside the block into ours."""
    try:
        yield
    except (httpx2.RequestError, httpx2.InvalidURL, ConnectionError) as error:
        line = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
        raise Unavailable(
            f"cannot {action} `{where}`: it cannot be reached ({line})",
            hint="check its name and the network; a registry without TLS in a network of your own "
            "needs `--plain-http`",
        ) from error


def from_status(response: httpx2.Response, action: str, where: str) -> AdapterworksError:
    """The error of an answer that was not the expected one; its body has been read."""
    status, said = response.status_code, _said(response)
    told = f"({status}: {said})" if said else f"({status})"
    if status in (401, 403):
        host = where.removeprefix("oci://").partition("/")[0]
        return Refused(
            f"cannot {action} `{where}`: the registry refuses {told}",
            hint=f"log in as somebody who may: docker login {host}",
        )
    if status == 404:
        return NotFound(
            f"cannot {action} `{where}`: it does not exist or may not be seen {told}",
            hint="check the name and the tag; if it is private, log in first",
        )
    if status in (409, 412, 416):
        return Conflict(f"cannot {action} `{where}`: somebody else was there {told}")
    if status == 429 or status >= 500:
        retry = response.headers.get("Retry-After", "")
        return Unavailable(
            f"cannot {action} `{where}`: the registry is not able to {told}",
            hint="try again later; what was sent is not sent again",
            retry_after=float(retry) if retry.isdecimal() else None,
        )
    return InvalidInput(f"cannot {action} `{where}`: the registry does not take it {told}")


def _said(response: httpx2.Response) -> str:
    """The first error of the body, in the registry's words."""
    try:
        table: Any = response.json()
        first = table["errors"][0]
        text = f"{first.get('code', '')} {first.get('message', '')}"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:200]
