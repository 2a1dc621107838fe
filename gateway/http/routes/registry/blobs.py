"""Bytes by digest: whole, or from where a download was cut off.

Invariant: only what a live release names is answered; tenants' files and all else that is in the
same store have digests too. The bytes of a part are not checked here: whoever has the whole checks
it against the digest that it asked for, which is the answer's `ETag`.
"""

from __future__ import annotations

import itertools
import re

from starlette.responses import Response, StreamingResponse

from adapterworks.gateway.http.routes.common import receipt_of
from adapterworks.gateway.http.routes.registry.desk import Asked
from adapterworks.gateway.http.routes.registry.sending import digest_of
from adapterworks.gateway.request.errors import NoSuchPart
from adapterworks.manifests.errors import NotFound

_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")


def blob(asked: Asked) -> Response:
    """A file's bytes, or a record's; `Range` asks for one part of them.

    Raises:
        NotFound: no release has them, or they were erased; to `HEAD`, also that they should be in
            the store and are not: whoever has them then sends them.
        NoSuchPart: they are fewer.
    """
    digest = digest_of(asked)
    size = asked.registry.size_of_blob(digest)
    tag = f'"{digest}"'
    headers = {
        **receipt_of(asked.request).headers(),
        "etag": tag,
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=31536000, immutable",
    }
    given = asked.request.headers
    if tag in [part.strip() for part in given.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    start, stop, status = 0, size, 200
    if given.get("if-range", tag) == tag and (wanted := _part(given.get("range"), size)):
        start, stop = wanted
        status = 206
        headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["content-length"] = str(stop - start)
    if asked.request.method == "HEAD":
        if not asked.registry.blobs.exists(digest):
            raise NotFound(f"the bytes {digest} are not in the store")
        return Response(status_code=status, headers=headers)
    chunks = asked.registry.blobs.part(digest, start, stop)
    first = next(chunks, b"")  # what is missing is said before the answer has begun
    return StreamingResponse(
        itertools.chain([first], chunks),
        status_code=status,
        media_type="application/octet-stream",
        headers=headers,
    )


def _part(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes that a `Range` names; None for what RFC 9110 lets be ignored: other units, several
    parts."""
    match = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        start, stop = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
    else:
        start, stop = max(0, size - int(match[2])), size
    if match[1] and match[2] and int(match[2]) < int(match[1]):
        return None
    if start >= stop:
        raise NoSuchPart(size)
    return start, stop
