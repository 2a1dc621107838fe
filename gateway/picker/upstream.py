"""An engine's answer that Envoy brings, as what reads answers knows one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping


class Upstream:
    """What is used of `engines.wire.Answer`; it begins when Envoy has the engine's head.

    Args:
        seconds: that it may take, from the question to its end.

    Attributes:
        status: of the engine.
        content_type: in small letters, without parameters.
        ended: all of it is here.
    """

    def __init__(self, seconds: float) -> None:
        self.status = 0
        self.content_type = ""
        self.ended = False
        self._headers: dict[str, str] = {}
        self._data = bytearray()
        self._more = asyncio.Event()
        self._begun = asyncio.Event()
        self._error: Exception | None = None
        self._timer = asyncio.get_running_loop().call_later(seconds, self._late)

    @property
    def fields(self) -> list[str]:
        """The names of the engine's headers."""
        return [name for name in self._headers if not name.startswith(":")]

    def header(self, name: str) -> str:
        """A header's value; empty if it is not there."""
        return self._headers.get(name, "")

    def begin(self, headers: Mapping[str, str]) -> None:
        """The engine's head is here.

        Raises:
            ValueError: its status is no number.
        """
        self.status = int(headers.get(":status", "502"))
        self._headers = dict(headers)
        self.content_type = self.header("content-type").partition(";")[0].strip().lower()
        self._begun.set()

    def feed(self, data: bytes, *, end: bool) -> None:
        """More of the body."""
        self._data += data
        self.ended |= end
        if self.ended:
            self._timer.cancel()
        if data or end:
            self._more.set()

    def broken(self) -> None:
        """Envoy has gone: what is not here will not come."""
        self._end(ConnectionError("the proxy has closed the request"))

    def leave(self) -> None:
        """Nobody reads it any more."""
        self._timer.cancel()

    async def begun(self) -> None:
        """Wait for the head.

        Raises:
            ConnectionError, TimeoutError: there will be none.
        """
        await self._begun.wait()
        if not self.status and self._error is not None:
            raise self._error

    async def some(self, patience: float | None = None) -> bytes | None:
        """What is here, or the next; empty at the end.

        Args:
            patience: seconds after which None is returned if nothing came.

        Raises:
            ConnectionError, TimeoutError: it was broken off, or took too long.
        """
        if not self._data and not self.ended and self._error is None:
            self._more.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._more.wait()
            if not self._more.is_set():
                return None
        if not self._data and self._error is not None:
            raise self._error
        return self.pending()

    def pending(self) -> bytes:
        """What is here and was not read; nobody reads any after it."""
        data = bytes(self._data)
        self._data.clear()
        return data

    async def read(self) -> bytes:
        """All that has not been read yet.

        Raises:
            ConnectionError, TimeoutError: it was broken off, or took too long.
        """
        pieces = []
        while not self.ended or self._data:
            pieces.append(await self.some() or b"")
        return b"".join(pieces)

    def _late(self) -> None:
        self._end(TimeoutError("the answer took too long"))

    def _end(self, error: Exception) -> None:
        self._timer.cancel()
        if not self.ended and self._error is None:
            self._error = error
        self._more.set()
        self._begun.set()
