"""Stored completions, as OpenAI's client calls them, and feedback on answers.

Invariant: a tenant reaches its own alone; another's is not found.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Annotated, Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.capture.answered import answered
from adapterworks.gateway.capture.asked import AskedFeedback, feedback_object
from adapterworks.gateway.capture.saying import say
from adapterworks.gateway.config.table import Table
from adapterworks.gateway.http.routes.common import (
    answer,
    body_of,
    gateway_of,
    receipt_of,
    tenant_of,
    writer_of,
)
from adapterworks.gateway.http.routes.pages import listed, number, one_of
from adapterworks.gateway.request.checked import checked
from adapterworks.gateway.request.errors import InvalidField, NoSuchThing
from adapterworks.manifests.errors import NotFound, Refused
from adapterworks.privacy.redact import Unredactable, redact_value
from adapterworks.registry.exchanges.exchange import Exchange

_MOST = 100
_ONE = "/v1/chat/completions/{completion}"
_Key = Annotated[str, Field(max_length=64)]
_Value = Annotated[str, Field(max_length=512)]


class AskedMetadata(Table):
    """`POST /v1/chat/completions/{completion}`."""

    metadata: Annotated[dict[_Key, _Value], Field(max_length=16)] | None


def routes() -> list[Route]:
    """Stored completions and feedback."""
    return [
        Route("/v1/chat/completions", list_stored, methods=["GET"]),
        Route(_ONE, retrieve, methods=["GET"]),
        Route(_ONE, update, methods=["POST"]),
        Route(_ONE, delete, methods=["DELETE"]),
        Route(f"{_ONE}/messages", messages, methods=["GET"]),
        Route("/v1/feedback", feedback, methods=["POST"]),
    ]


async def list_stored(request: Request) -> Response:
    """`GET /v1/chat/completions`: oldest first unless `order` is `desc`."""
    tenant, query = tenant_of(request), request.query_params
    wanted = {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in query.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    page = functools.partial(
        gateway_of(request).capture.store.listed,
        tenant.id,
        after=query.get("after"),
        limit=number(request, "limit", 20, most=_MOST),
        newest_first=one_of(request, "order", ("asc", "desc")) == "desc",
        model=query.get("model"),
        metadata=wanted,
    )
    try:
        found, more = await asyncio.to_thread(page)
    except NotFound as error:
        raise InvalidField(error.message, param="after") from error
    return listed(request, [completion_object(item) for item in found], more)


async def retrieve(request: Request) -> Response:
    """`GET /v1/chat/completions/{completion}`."""
    return answer(request, completion_object(await _own(request)))


async def update(request: Request) -> Response:
    """`POST /v1/chat/completions/{completion}`: other metadata, and nothing else.

    Raises:
        InvalidField: the metadata are none, or hold personal data that cannot be taken out.
    """
    tenant, own = writer_of(request), await _own(request)
    asked = checked(AskedMetadata, (await body_of(request)).values)
    try:
        metadata, kinds = redact_value(asked.metadata or {})
    except Unredactable as error:
        raise InvalidField(f"`metadata` cannot be kept: {error}", param="metadata") from error
    if kinds and tenant.consent is not None and tenant.consent.on_personal == "drop":
        raise InvalidField(f"`metadata` holds {', '.join(kinds)}", param="metadata")
    store = gateway_of(request).capture.store
    changed = await asyncio.to_thread(store.set_metadata, tenant.id, own.receipt, metadata)
    return answer(request, completion_object(changed))


async def delete(request: Request) -> Response:
    """`DELETE /v1/chat/completions/{completion}`."""
    tenant, own = writer_of(request), await _own(request)
    store = gateway_of(request).capture.store
    name = await asyncio.to_thread(store.delete, tenant.id, own.receipt)
    return answer(request, {"id": name, "object": "chat.completion.deleted", "deleted": True})


async def messages(request: Request) -> Response:
    """`GET /v1/chat/completions/{completion}/messages`: the turns that were asked."""
    own = await _own(request)
    turns = [_message(own.id, index, turn) for index, turn in enumerate(own.messages)]
    if one_of(request, "order", ("asc", "desc")) == "desc":
        turns.reverse()
    after = request.query_params.get("after")
    if after is not None:
        ids = [turn["id"] for turn in turns]
        if after not in ids:
            raise InvalidField(f"there is no message `{after[:200]}`", param="after")
        turns = turns[ids.index(after) + 1 :]
    limit = number(request, "limit", 20, most=_MOST)
    return listed(request, turns[:limit], len(turns) > limit)


async def feedback(request: Request) -> Response:
    """`POST /v1/feedback`.

    Raises:
        NoSuchThing: the tenant was given no such answer.
        InvalidField: it says nothing, too much, or a text where none is kept.
        Conflict: the same idempotency key said something else before.
    """
    tenant, gateway = writer_of(request), gateway_of(request)
    values = (await body_of(request)).values
    if (header := request.headers.get("idempotency-key")) is not None:
        values = {"idempotency_key": header, **values}
    asked = checked(AskedFeedback, values)
    new, store = asked.new(), gateway.capture.store
    try:
        subject = await asyncio.to_thread(answered, store, tenant.id, asked.id, gateway.recent)
        on_personal = tenant.consent.on_personal if tenant.consent is not None else "redact"
        said, created = await asyncio.to_thread(say, store, tenant.id, subject, new, on_personal)
    except NotFound as error:
        raise NoSuchThing(error.message, hint=error.hint) from error
    except Refused as error:
        param = "correction" if asked.correction is not None else "comment"
        raise InvalidField(error.message, param=param, hint=error.hint) from error
    headers = receipt_of(request).headers()
    return JSONResponse(feedback_object(said), status_code=201 if created else 200, headers=headers)


def completion_object(item: Exchange) -> dict[str, Any]:
    """A stored completion in OpenAI's words, with the receipt in ours."""
    return {
        **item.answer,
        "metadata": dict(item.metadata),
        "request_id": item.receipt,
        "x_adapter": {
            "ref": item.ref,
            "adapter": item.adapter,
            "digest": item.release or None,
            "base_digest": item.base,
            "template_digest": item.template or None,
            "stored": item.stored,
            "share": item.share,
            "redacted": list(item.redacted),
            "expires_at": int(item.expires),
        },
    }


def _message(completion: str, index: int, turn: dict[str, Any]) -> dict[str, Any]:
    content = turn.get("content")
    parts = content if isinstance(content, list) else None
    return {
        **turn,
        "id": f"{completion}-{index}",
        "content": None if parts is not None else content,
        "content_parts": parts,
    }


async def _own(request: Request) -> Exchange:
    tenant, store = tenant_of(request), gateway_of(request).capture.store
    try:
        return await asyncio.to_thread(store.get, tenant.id, request.path_params["completion"])
    except NotFound as error:
        raise NoSuchThing(error.message) from error
