"""`/generate`: one prompt, one adapter, one text; the smallest way to ask.

    {"adapter": "medical", "prompt": "…", "max_tokens": 64} → {"adapter": …, "text": …, "usage": …}

The prompt is one user message, put through the base's chat template, as adapters are trained.
Invariant: it is the chat endpoint under another shape; access, limits and receipts are the same.
"""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from adapterworks.gateway.http.routes.common import gateway_of, receipt_of, tenant_of
from adapterworks.gateway.request.exchange import Exchange, read_json
from adapterworks.gateway.request.fields import CHAT
from adapterworks.manifests.errors import InvalidInput

_FIELDS = {"adapter", "prompt", "max_tokens", "temperature", "top_p", "seed", "stop"}


def routes() -> list[Route]:
    """`/generate`."""
    return [Route("/generate", generate, methods=["POST"])]


async def generate(request: Request) -> Generated:
    """Answer one prompt.

    Raises:
        InvalidInput: a field is missing, unknown or of the wrong type.
    """
    tenant, receipt, gateway = tenant_of(request), receipt_of(request), gateway_of(request)
    http = gateway.config.http
    body, size = await read_json(request, http.body_limit, http.body_seconds)
    unknown = sorted(set(body) - _FIELDS)
    if unknown:
        raise InvalidInput(
            f"unknown field `{unknown[0][:100]}`", hint=f"fields are {', '.join(sorted(_FIELDS))}"
        )
    for name in ("adapter", "prompt"):
        if not isinstance(body.get(name), str):
            raise InvalidInput(f"`{name}` must be a text")
    chat = {name: value for name, value in body.items() if name not in ("adapter", "prompt")}
    chat["model"] = body["adapter"]
    chat["messages"] = [{"role": "user", "content": body["prompt"]}]
    return Generated(Exchange(gateway, CHAT, tenant, receipt, chat, size, request.headers))


class Generated:
    """A chat exchange whose answer is reduced to its text."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer once the whole chat answer is there."""
        start: Message = {}

        async def reshaped(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body = message["body"]
            if start["status"] == 200:
                body = _reduce(body)
            length = (b"content-length", b"%d" % len(body))
            others = [header for header in start["headers"] if header[0] != length[0]]
            await send({**start, "headers": [*others, length]})
            await send({"type": "http.response.body", "body": body})

        await self._exchange(scope, receive, reshaped)


def _reduce(body: bytes) -> bytes:
    answer: dict[str, Any] = json.loads(body)
    return json.dumps(
        {
            "adapter": answer["model"],
            "text": answer["choices"][0]["message"]["content"],
            "usage": answer["usage"],
        },
        ensure_ascii=False,
    ).encode()
