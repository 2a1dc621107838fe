"""One client's connection: how long it may take over each part of an exchange.

uvicorn limits only the pause between two requests. Here a request's head must be complete within
`header_seconds` of the connection, or of its first byte on a connection that was used before; its
body within `body_seconds` of the head; and a client that stops reading its answer is dropped after
`idle_seconds`. Bytes that drip in prolong nothing.

Invariant: whatever a client sends or leaves out, a connection without a request in work ends by
itself, and what it can make us keep meanwhile is bounded by `header_limit` and `body_limit`. When
all `max_connections` are taken, the newcomer gets the place of the one that has been longest
without a request in work: whoever holds connections and asks nothing shuts nobody out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from adapterworks.gateway.config.tables import HttpTable
from adapterworks.gateway.request.errors import HeadersTooLarge, TooSlow, error_body, shape_of
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.manifests.errors import AdapterworksError

# `header_limit` counts names and values; with colons and line ends a head of many empty headers
# takes this many times as many bytes. What passes here is counted by `header_limit.py`.
_HEAD_BYTES = 4


class _Joined:
    """A transport that sends what is written in one turn of the event loop in one piece.

    An answer's head and body in two pieces are two packets, and wake the client twice.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Send with whatever else is written in this turn."""
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(data)

    def close(self) -> None:
        """Send what was written, then close."""
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        """Send what was written, now."""
        pieces, self._pieces = self._pieces, []
        if pieces and not self._transport.is_closing():
            self._transport.write(b"".join(pieces))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


Resting = dict["Connection", None]
"""The connections of one server without a request in work, the longest first."""


class Connection(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with the limits of `[http]`.

    Args:
        limits: seconds and bytes.
        resting: those of the same server; each keeps itself in it or out of it.
        options: as uvicorn gives them.
    """

    def __init__(
        self, *, limits: HttpTable, resting: Resting | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.timeout_keep_alive = limits.idle_seconds  # type: ignore[assignment]
        self._limits = limits
        self._resting: Resting = {} if resting is None else resting
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None
        self._head: int | None = 0  # bytes of the head so far; None once it is complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come: from now on the first request's head is waited for."""
        self._joined = _Joined(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, self._joined))
        self._expect(self._limits.header_seconds, self._late_head)
        self._resting[self] = None
        # uvicorn counts this one, and refuses a request when there are as many as the limit.
        if len(self.connections) >= self._limits.max_connections:
            longest = next(iter(self._resting))
            if longest is not self:
                del self._resting[longest]
                longest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone: no time limit runs any more."""
        self._received()
        self._sent()
        self._resting.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; blank lines between requests are the beginning of a head too."""
        if self._receiving is None:
            self._expect(self._limits.header_seconds, self._late_head)
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)
        if self._head is not None and self._head > _HEAD_BYTES * self._limits.header_limit:
            self._refuse(HeadersTooLarge("the request's path and headers are too large"))

    def on_headers_complete(self) -> None:
        """The body is due."""
        self._head = None
        self._expect(self._limits.body_seconds, self._late_body)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """All of the request is here; the answer has limits of its own."""
        self._head = 0
        self._received()
        self._resting.pop(self, None)
        super().on_message_complete()

    def on_message_begin(self) -> None:
        """A head is due; also of a request sent right behind another."""
        super().on_message_begin()
        if self._receiving is None:
            self._expect(self._limits.header_seconds, self._late_head)

    def on_response_complete(self) -> None:
        """The answer's last byte is written: it waits for nothing else that is to be done."""
        self._joined.flush()
        super().on_response_complete()
        if not self.transport.is_closing() and not self._answering():
            self._resting[self] = None

    def pause_writing(self) -> None:
        """The client does not read what it is sent."""
        super().pause_writing()
        if self._sending is None:
            self._sending = self.loop.call_later(self._limits.idle_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads again."""
        self._sent()
        super().resume_writing()

    def _expect(self, seconds: float, late: Callable[[], None]) -> None:
        self._received()
        self._receiving = self.loop.call_later(seconds, late)

    def _received(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None

    def _sent(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def timeout_keep_alive_handler(self) -> None:
        """No further request came."""
        self._end()

    def _late_head(self) -> None:
        if self._answering():
            # Of a request sent ahead: it is not to cost the client the answer that is under way.
            self._expect(self._limits.header_seconds, self._late_head)
        elif self._head:
            seconds = self._limits.header_seconds
            self._refuse(TooSlow(f"the request's headers did not arrive within {seconds:g} s"))
        else:
            self._end()

    def _late_body(self) -> None:
        if self.pipeline:  # we have not read on since: another request is answered first
            self._expect(self._limits.body_seconds, self._late_body)
        elif self._answering():
            self.cycle.keep_alive = False  # whoever reads the body answers that it is late
        else:  # answered without it
            self._end()

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: AdapterworksError) -> None:
        """Answer in the shape of all errors, and close."""
        if self.transport.is_closing():
            return
        body = error_body(error)
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            **Receipt().headers(),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[shape_of(error).status] + lines.encode() + b"\r\n" + body)
        self._end()

    def _end(self) -> None:
        """Close; at the latest after `idle_seconds`, if the client does not read what is left."""
        self.transport.close()
        self._expect(self._limits.idle_seconds, self.transport.abort)
