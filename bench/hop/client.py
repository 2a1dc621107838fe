"""A client that costs little: requests written whole, answers counted, one connection a client.

What an ordinary client library adds would be added to every side, and drown their difference.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import cast
from urllib.parse import urlsplit

import httptools

from bench.hop.side import Side

QUESTION = "Give the ICD-10-CM category for: amebic balanitis"


class Failed(Exception):
    """A side answered with an error, or closed the connection."""


class Client(asyncio.Protocol):
    """One connection to a side; `ask` is one exchange on it.

    Attributes:
        events: events of JSON in the last streamed answer.
    """

    def __init__(self) -> None:
        self.events = 0
        self._done: asyncio.Future[None] | None = None

    @classmethod
    async def connect(cls, side: Side) -> Client:
        """A new connection."""
        at = urlsplit(side.url)
        _, client = await asyncio.get_running_loop().create_connection(cls, at.hostname, at.port)
        return client

    async def ask(self, request: bytes) -> float:
        """Seconds from the first byte sent to the last received.

        Raises:
            Failed: the answer is no 200, or does not end.
        """
        self._done = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self.events, self._said = 0, b""
        began = time.perf_counter()
        self._transport.write(request)
        await self._done
        return time.perf_counter() - began

    def close(self) -> None:
        """Close the connection."""
        self._done = None
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(Failed(f"the connection was closed: {exc}"))

    def on_body(self, body: bytes) -> None:
        self.events += body.count(b"data: {")
        if self._parser.get_status_code() != 200:
            self._said += body

    def on_message_complete(self) -> None:
        if self._done is None or self._done.done():
            return
        status = self._parser.get_status_code()
        if status == 200:
            self._done.set_result(None)
        else:
            self._done.set_exception(Failed(f"{status}: {self._said[:300].decode()}"))


def request(side: Side, *, tokens: int, stream: bool) -> bytes:
    """A chat, as it goes over the wire."""
    body = json.dumps(
        {
            "model": side.model,
            "messages": [{"role": "user", "content": QUESTION}],
            "max_tokens": tokens,
            "stream": stream,
        }
    ).encode()
    at = urlsplit(side.url)
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {at.netloc}\r\n"
        f"authorization: Bearer {side.key}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body
