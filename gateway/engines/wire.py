"""What is relayed to an engine: one HTTP/1.1 connection, and as little as that is.

Loads, probes and health go through an ordinary client (`client.py`); a request that is relayed
passes here, where a general client's session, request and response objects cost a third of what
the whole gateway costs.

Invariants:
- a connection is free again only after an answer that ended as its head said; what comes on one
  that nobody uses ends it;
- an answer that broke off, or took longer than it may, raises when it is read; what came before is
  given first;
- nobody makes us keep more than `_MOST_KEPT` bytes of an answer that is not read, or more than
  `_MOST_HEAD` in a row that is no body: a head, or the trailers at the end, which nobody reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

_MOST_KEPT = 1 << 19
_MOST_HEAD = 1 << 16


class Broken(ConnectionError):
    """The engine closed the connection, or what it said is no HTTP."""


class Answer:
    """One answer, as it comes.

    Attributes:
        status: of HTTP.
        content_type: in small letters, without parameters; empty if it says none.
    """

    __slots__ = (
        "_chunks", "_done", "_error", "_fields", "_head", "_size", "_timer", "_waiter", "_wire",
        "content_type", "status",
    )  # fmt: skip

    def __init__(self, wire: Wire, seconds: float) -> None:
        self.status = 0
        self.content_type = ""
        self._wire: Wire | None = wire
        self._fields: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self._size = 0
        self._head = self._done = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[bool] | None = None
        self._timer = wire.loop.call_later(seconds, self._late)

    def header(self, name: str) -> str:
        """A header's value; empty if it is not there."""
        wanted = name.encode()
        return next((v.decode("latin-1") for k, v in self._fields if k == wanted), "")

    async def read(self) -> bytes:
        """All that has not been read yet.

        Raises:
            Broken, TimeoutError: it does not come to its end.
        """
        found = []
        while chunk := await self.some():
            found.append(chunk)
        return found[0] if len(found) == 1 else b"".join(found)

    async def some(self, patience: float | None = None) -> bytes | None:
        """The bytes that are there, or the next; empty at the end.

        Args:
            patience: seconds after which None is returned if nothing came.

        Raises:
            Broken, TimeoutError: it does not come to its end.
        """
        if not self._chunks and not self._over and not await self._wait(patience):
            return None
        if self._chunks:
            chunks, self._chunks = self._chunks, []
            self._size = 0
            if self._wire is not None:
                self._wire.resume()
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if self._error is not None:
            raise self._again(self._error)
        return b""

    def pending(self) -> bytes:
        """The bytes that are there and were not read; nobody reads any after them."""
        chunks, self._chunks = self._chunks, []
        return b"".join(chunks)

    async def begun(self) -> None:
        """Wait for its head.

        Raises:
            Broken, TimeoutError: none comes.
        """
        while not self._head and not self._over:
            await self._wait(None)
        if not self._head and self._error is not None:
            raise self._again(self._error)

    def _again(self, error: Exception) -> Exception:
        # Another one: what is kept and raised leads back to itself through its traceback.
        return type(error)(*error.args)

    def leave(self) -> None:
        """Nobody reads it any more; what has not ended ends with its connection."""
        if self._wire is not None:
            self._wire.end()

    @property
    def _over(self) -> bool:
        return self._done or self._error is not None

    async def _wait(self, patience: float | None) -> bool:
        """Wait for whatever comes next; False if nothing did."""
        assert self._wire is not None
        loop = self._wire.loop
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiter = waiter
        timer = None if patience is None else loop.call_later(patience, _ring, waiter)
        try:
            return await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(True)

    def _came(self, status: int, fields: list[tuple[bytes, bytes]]) -> None:
        self.status, self._fields, self._head = status, fields, True
        kind = self.header("content-type")
        self.content_type = kind.partition(";")[0].strip().lower()
        self._wake()

    def _more(self, chunk: bytes) -> bool:
        """Take a piece of the body; returns whether that is enough for now."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        self._wake()
        return self._size > _MOST_KEPT

    def _end(self, error: Exception | None = None) -> None:
        if self._over:
            return
        self._done, self._error, self._wire = error is None, error, None
        self._timer.cancel()
        self._wake()

    def _late(self) -> None:
        wire = self._wire
        self._end(TimeoutError("the answer took too long"))
        if wire is not None:
            wire.end()


class Wire(asyncio.Protocol):
    """One connection.

    Args:
        kept: told of it when it is free again; `lost` when it is closed.

    Attributes:
        idle_since: when it came free, on the loop's clock.
    """

    def __init__(self, kept: Callable[[Wire], None], lost: Callable[[Wire], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.idle_since = 0.0
        self._kept, self._lost = kept, lost
        self._parser = httptools.HttpResponseParser(self)
        self._answer: Answer | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._no_body = 0
        self._framed = self._keep = self._paused = self._aside = False

    def ask(self, request: bytes, seconds: float) -> Answer:
        """Send a request; its answer begins to come."""
        answer = self._answer = Answer(self, seconds)
        self._transport.write(request)
        return answer

    @property
    def usable(self) -> bool:
        """Whether it may be asked something."""
        return not self._transport.is_closing()

    def resume(self) -> None:
        """What came was read: there is room for more."""
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def end(self) -> None:
        """Close it now."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """What is under way has ended, if it was to end like this, or has broken off."""
        self._lost(self)
        answer, self._answer = self._answer, None
        if answer is not None:
            whole = answer._head and not self._framed and exc is None
            answer._end(None if whole else Broken("the engine closed the connection"))

    def data_received(self, data: bytes) -> None:
        """Parse what has come of the answer; what nobody asked for ends the connection."""
        if self._answer is None:
            self.end()
            return
        self._no_body += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail("what the engine answered is no HTTP")
            return
        answer = self._answer
        if answer is not None and self._no_body > _MOST_HEAD:
            part = "end" if answer._head else "head"
            self._fail(f"the {part} of the engine's answer does not end")

    def on_message_begin(self) -> None:
        """A further answer begins; one that nobody asked for is the last that is said here."""
        if self._answer is None:
            self.end()
        self._fields, self._framed = [], False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One line of the head; what comes after the body is none, whatever it says."""
        if self._answer is not None and self._answer._head:
            return
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._framed = True
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is there; one that only announces the next is passed over."""
        status = self._parser.get_status_code()
        self._aside = 100 <= status < 200
        if self._answer is not None and not self._aside:
            self._framed |= status in (204, 304)
            self._keep = self._parser.should_keep_alive() and self._framed
            self._no_body = 0
            self._answer._came(status, self._fields)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._no_body = 0
        if self._answer is not None and self._answer._more(body) and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        """That was all of it."""
        answer = self._answer
        if answer is None or self._aside:
            return
        self._answer, self._no_body = None, 0
        self.resume()
        answer._end()
        if self._keep:
            self.idle_since = self.loop.time()
            self._kept(self)
        else:
            self._transport.close()

    def _fail(self, why: str) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer._end(Broken(why))
        self.end()


def _ring(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(False)
