"""An engine's answer that Envoy brings, as what reads answers knows one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping


class Upstream:
    """What is used of `engines.wire.Answer`; it begins when Envoy has the engine's head.

    Attributes:
        status: of the engine.
        content_type: in small letters, without parameters.
    """

    def __init__(self) -> None:
        self.status = 0
        self.content_type = ""
        self._headers: dict[str, str] = {}
        self._data = bytearray()
        self._more = asyncio.Event()
        self._begun = asyncio.Event()
        self._end = self._broken = False

    def header(self, name: str) -> str:
        """A header's value; empty if it is not there."""
        return self._headers.get(name, "")

    def begin(self, headers: Mapping[str, str]) -> None:
        """The engine's head is here."""
        self._headers = dict(headers)
        self.status = int(headers.get(":status", "502"))
        self.content_type = self.header("content-type").partition(";")[0].strip().lower()
        self._begun.set()

    def feed(self, data: bytes, *, end: bool) -> None:
        """More of the body."""
        self._data += data
        self._end |= end
        if data or end:
            self._more.set()

    def broken(self) -> None:
        """Envoy has gone: what is not here will not come."""
        self._broken = not self._end
        self._more.set()
        self._begun.set()

    async def begun(self) -> None:
        """Wait for the head.

        Raises:
            ConnectionError: there will be none.
        """
        await self._begun.wait()
        if not self.status:
            raise ConnectionError("the proxy has closed the request")

    async def some(self, patience: float | None = None) -> bytes | None:
        """What is here, or the next; empty at the end.

        Args:
            patience: seconds after which None is returned if nothing came.

        Raises:
            ConnectionError: it was broken off.
        """
        if not self._data and not self._end and not self._broken:
            self._more.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._more.wait()
            if not self._more.is_set():
                return None
        if not self._data and self._broken:
            raise ConnectionError("the proxy has closed the request")
        data = bytes(self._data)
        self._data.clear()
        return data

    async def read(self) -> bytes:
        """All that has not been read yet.

        Raises:
            ConnectionError: it was broken off.
        """
        pieces = []
        while not self._end or self._data:
            pieces.append(await self.some() or b"")
        return b"".join(pieces)
