"""Bytes that are sent for a release: parts in order, each with where it stands in the whole."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from starlette.requests import ClientDisconnect, Request

from adapterworks.gateway.http.routes.registry.desk import Asked
from adapterworks.gateway.request.errors import InvalidField, TooLarge, TooSlow
from adapterworks.manifests.digests import DIGEST_PATTERN
from adapterworks.manifests.errors import InvalidInput

PART_BYTES = 8 * 1024 * 1024
_MOST = 1 << 40
_RANGE = re.compile(r"bytes (\d{1,13})-(\d{1,13})/(\d{1,13})")


def received(asked: Asked) -> dict[str, Any]:
    """How much of a blob has come from this token: where to go on."""
    return _told(asked, *asked.desk.sent.received(asked.caller.id, digest_of(asked)))


async def send(asked: Asked) -> dict[str, Any]:
    """`PUT` of a part with `Content-Range: bytes 0-8388607/30000000`; without, it is the whole.

    Raises:
        InvalidField: the range is not what the body has.
        Conflict: the part does not follow the one before; the message says where to go on.
        CorruptBlob: the whole is not what its digest says.
    """
    digest = digest_of(asked)
    part = await _part(asked.request, asked.desk.http.body_seconds)
    start, total = _place(asked.request.headers.get("content-range"), len(part))
    here = await asyncio.to_thread(asked.desk.sent.add, asked.caller.id, digest, start, part, total)
    return _told(asked, here, here == total)


def digest_of(asked: Asked) -> str:
    """The digest in the path.

    Raises:
        InvalidField: it is none.
    """
    digest = asked.path("digest")
    if not DIGEST_PATTERN.fullmatch(digest):
        raise InvalidField("a digest is `sha256:` and 64 hex digits", param="digest")
    return digest


def _place(header: str | None, size: int) -> tuple[int, int]:
    if header is None:
        return 0, size
    match = _RANGE.fullmatch(header)
    if match is None:
        raise InvalidField("write `Content-Range: bytes FIRST-LAST/TOTAL`", param="content-range")
    first, last, total = map(int, match.groups())
    if last - first + 1 != size or last >= total or total > _MOST:
        raise InvalidField(
            f"the body has {size} bytes, and `Content-Range` says otherwise", param="content-range"
        )
    return first, total


async def _part(request: Request, seconds: float) -> bytes:
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                data += chunk
                if len(data) > PART_BYTES:
                    raise TooLarge(f"a part may have {PART_BYTES} bytes")
    except TimeoutError as error:
        raise TooSlow(f"the part did not arrive within {seconds:g} s") from error
    except ClientDisconnect as error:
        raise InvalidInput("the client left before the part was whole") from error
    return bytes(data)


def _told(asked: Asked, here: int, whole: bool) -> dict[str, Any]:
    return {"object": "registry.sent", "digest": digest_of(asked), "received": here, "whole": whole}
