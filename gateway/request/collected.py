"""An answer in one piece, for whoever puts it into something larger."""

from __future__ import annotations

from starlette.types import Message, Receive

from adapterworks.gateway.request.exchange import Exchange


async def collected(exchange: Exchange, receive: Receive) -> tuple[int, bytes]:
    """Run an exchange; returns its status and its body, (0, b"") if it was left before an answer.

    Args:
        receive: says when the client is gone.

    Raises:
        AdapterworksError: it was refused, or failed.
    """
    status, pieces = 0, bytearray()

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)
        pieces.extend(message.get("body", b""))

    await exchange({}, receive, send)
    return status, bytes(pieces)
