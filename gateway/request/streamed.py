"""A streamed answer on its way to the client: one stream of the engine's, or several in turn.

Invariants: what was answered is metered durably before the client can have the last byte of it; and
the client sees one stream, whose choices go on where the stream before left off.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from starlette.types import Send

from adapterworks.gateway.engines.wire import Answer
from adapterworks.gateway.request.account import Account
from adapterworks.gateway.request.endpoints import Call
from adapterworks.gateway.request.errors import error_body, shape_of
from adapterworks.gateway.request.stream import Piece, Rewriter
from adapterworks.manifests.errors import AdapterworksError, Unavailable

# An event stream's comment: clients pass over it.
_COMMENT = b": keep-alive\n\n"
_BROKEN = (ConnectionError, TimeoutError)
_log = logging.getLogger(__name__)


class Streamed:
    """One answer.

    Args:
        parts: the request, in the pieces that the engine is asked.
        head: sends the answer's head.
        rewriter: of a part.
        keep_alive: seconds of silence after which the client is sent a comment, so that no proxy in
            between takes the connection for dead.

    Attributes:
        begun: the client has the answer's head.
        over: it has all that it will get.
    """

    def __init__(
        self,
        parts: Sequence[Call],
        account: Account,
        send: Send,
        head: Callable[[], Awaitable[None]],
        rewriter: Callable[[Call, Piece], Rewriter],
        keep_alive: float,
    ) -> None:
        self._parts = parts
        self._account = account
        self._send = send
        self._head = head
        self._rewriter = rewriter
        self._keep_alive = keep_alive
        self._piece = Piece(last=len(parts) == 1)
        self._number = 0
        self.begun = False
        self.over = False

    async def part(self, upstream: Answer) -> bool:
        """Pass the next part's stream on as it comes; returns whether the engine ended it well."""
        part = self._parts[self._number]
        rewriter = self._rewriter(part, self._piece)
        if not self.begun:
            self.begun = True
            await self._head()
        last = b""
        try:
            while (chunk := await upstream.some(self._keep_alive)) != b"":
                if chunk is None:
                    await self._some(_COMMENT)
                    continue
                events = rewriter.feed(chunk)
                if rewriter.finished and self._piece.last:
                    last += events
                elif events:
                    await self._some(events)
                    self._account.token()
                if rewriter.failed is not None:
                    break
            last += rewriter.tail()
        except _BROKEN:
            rewriter.finished = False
        except BaseException:
            # The client has gone, or does not read: what the engine has said by now it has counted.
            rewriter.feed(upstream.pending())
            raise
        what = "the engine broke off its answer"
        if rewriter.failed is not None:
            _log.error("the engine failed in its answer: %s", rewriter.failed)
            what = "the engine failed in its answer"
        if not rewriter.finished:
            await self.fail(Unavailable(what, hint="send the request again", retry_after=2.0))
            return False
        if self._piece.last:
            await self._end(200, last)
        else:
            self._number += 1
            self._piece = self._piece.next(
                self._account.part(), part, last=self._number == len(self._parts) - 1
            )
        return True

    async def fail(self, error: AdapterworksError) -> None:
        """End what was begun with an event that says why it does not go on."""
        await self._end(shape_of(error).status, error_event(error, self._parts[0]))

    async def _end(self, status: int, last: bytes) -> None:
        self.over = True
        await self._account.close(status)
        await self._send({"type": "http.response.body", "body": last})

    async def _some(self, events: bytes) -> None:
        await self._send({"type": "http.response.body", "body": events, "more_body": True})


def error_event(error: AdapterworksError, call: Call) -> bytes:
    """The event that ends a stream which cannot go on: an error, as its clients know it."""
    body = error_body(error, anthropic=call.endpoint.anthropic)
    name = b"event: error\n" if call.endpoint.dialect != "openai" else b""
    return name + b"data: " + body + b"\n\n"
