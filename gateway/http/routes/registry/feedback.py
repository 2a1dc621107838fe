"""What people said of answers, for administrators, as `adapters feedback`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import islice
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response, StreamingResponse

from adapterworks.gateway.capture.asked import AskedFeedback
from adapterworks.gateway.capture.judgements import Judgements
from adapterworks.gateway.http.routes.common import receipt_of
from adapterworks.gateway.http.routes.pages import number
from adapterworks.gateway.http.routes.registry import bodies
from adapterworks.gateway.http.routes.registry.desk import Asked
from adapterworks.gateway.http.routes.registry.reading import MOST, USUAL
from adapterworks.gateway.request.errors import InvalidField

_LONGEST_NUMBER = 15


def listed(asked: Asked) -> dict[str, Any]:
    """A page of feedback, the newest first."""
    after = asked.query("after")
    if after is not None and not (
        after.isascii() and after.isdigit() and len(after) <= _LONGEST_NUMBER
    ):
        raise InvalidField("`after` is not a number", param="after")
    limit = number(asked.request, "limit", USUAL, most=MOST)
    found = list(
        islice(
            _judgements(asked).listed(
                tenant=asked.query("tenant"),
                adapter=asked.query("adapter"),
                release=asked.query("release"),
                limit=limit + 1,
                before=None if after is None else int(after),
            ),
            limit + 1,
        )
    )
    page = found[:limit]
    return {
        "object": "list",
        "data": [{"number": at, "feedback": dataclasses.asdict(said)} for at, said in page],
        "last_id": str(page[-1][0]) if page else None,
        "has_more": len(found) > limit,
    }


def add(asked: Asked, body: bodies.NewFeedback) -> dict[str, Any]:
    """Something is said of a tenant's answer."""
    said = AskedFeedback(**body.model_dump(exclude={"tenant"}))
    kept, created = _judgements(asked).add(body.tenant, said)
    return {"object": "registry.feedback", "created": created, "feedback": dataclasses.asdict(kept)}


def exchanges(asked: Asked) -> Response:
    """Captured answers that somebody said something of, one JSON object a line."""
    found = _judgements(asked).exchanges(
        tenant=asked.query("tenant"), adapter=asked.query("adapter")
    )

    def lines() -> Iterator[bytes]:
        for item in found:
            yield to_json(item) + b"\n"

    return StreamingResponse(
        lines(),
        media_type="application/x-ndjson",
        headers=receipt_of(asked.request).headers(),
    )


def _judgements(asked: Asked) -> Judgements:
    return Judgements(asked.desk.exchanges)
