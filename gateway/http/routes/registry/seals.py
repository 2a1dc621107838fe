"""The sealed test sets of a registry and its erased rows, for builds elsewhere: what no adapter is
trained on.

A seal, and a mark, is what rows are recognised by, no text (`registry/datasets/store.py`).
"""

from __future__ import annotations

import dataclasses
from typing import Any

from starlette.responses import Response

from adapterworks.gateway.http.routes.common import receipt_of
from adapterworks.gateway.http.routes.registry import bodies
from adapterworks.gateway.http.routes.registry.desk import Asked
from adapterworks.gateway.http.routes.registry.sending import digest_of
from adapterworks.manifests.errors import NotFound
from adapterworks.registry.datasets.seal import MOST_BYTES
from adapterworks.registry.datasets.store import Datasets


def listed(asked: Asked) -> dict[str, Any]:
    """Every sealed test set: its blob, and what it is the test set of."""
    rows = [dataclasses.asdict(sealed) for sealed in Datasets(asked.registry).seals()]
    return {"object": "list", "data": rows, "has_more": False}


def erased(asked: Asked) -> dict[str, Any]:
    """Every row that was erased from datasets: a number that tells it from others, and since when;
    why is the registry's own business."""
    rows = [{"mark": row.mark, "at": row.at} for row in Datasets(asked.registry).erased_rows()]
    return {"object": "list", "data": rows, "has_more": False}


def content(asked: Asked) -> Response:
    """The bytes of a seal.

    Raises:
        NotFound: there is none of that digest.
    """
    digest, datasets = digest_of(asked), Datasets(asked.registry)
    if not any(sealed.blob == digest for sealed in datasets.seals()):
        raise NotFound(f"no test set has the seal {digest}")
    return Response(
        datasets.read(digest),
        media_type="application/octet-stream",
        headers=receipt_of(asked.request).headers(),
    )


def add(asked: Asked, body: bodies.NewSeal) -> dict[str, Any]:
    """A test set is sealed for ever, whose seal the same token has sent.

    Raises:
        InvalidInput: the bytes are no seal.
    """
    asked.desk.sent.require(asked.caller.id, [(body.blob, None)])
    Datasets(asked.registry).seal(_seal_of(asked, body.blob), body.owner)
    return {"object": "registry.seal", "blob": body.blob, "owner": body.owner}


def _seal_of(asked: Asked, digest: str) -> bytes:
    """The bytes that were sent, hashed; of more than a seal can have, only that much."""
    data = bytearray()
    for chunk in asked.registry.blobs.get(digest):
        data += chunk
        if len(data) > MOST_BYTES:
            break
    return bytes(data)
