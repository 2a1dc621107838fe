"""An engine's answer that Envoy brings, as what reads answers knows one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from multidict import CIMultiDict


class Content:
    """What is used of `aiohttp.StreamReader`."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._more = asyncio.Event()
        self._end = self._broken = False

    def feed(self, data: bytes, *, end: bool) -> None:
        """More of it."""
        self._data += data
        self._end |= end
        self._more.set()

    def broken(self) -> None:
        """What is not here will not come."""
        self._broken = not self._end
        self._more.set()

    async def readany(self) -> bytes:
        """What is here, and at least something; nothing at the end.

        Raises:
            ConnectionError: it was broken off.
        """
        while not self._data and not self._end:
            if self._broken:
                raise ConnectionError("the proxy has closed the request")
            self._more.clear()
            await self._more.wait()
        data = bytes(self._data)
        self._data.clear()
        return data


class Upstream:
    """What is used of `aiohttp.ClientResponse`; it begins when Envoy has the engine's head.

    Attributes:
        status: of the engine.
        content: the body, as it comes.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.content = Content()
        self._begun = asyncio.Event()

    @property
    def content_type(self) -> str:
        """Without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def begin(self, headers: Mapping[str, str]) -> None:
        """The engine's head is here."""
        self.status = int(headers.get(":status", "502"))
        self.headers.extend({k: v for k, v in headers.items() if not k.startswith(":")})
        self._begun.set()

    def broken(self) -> None:
        """Envoy has gone."""
        self.content.broken()
        self._begun.set()

    async def begun(self) -> None:
        """Wait for the head.

        Raises:
            ConnectionError: there will be none.
        """
        await self._begun.wait()
        if not self.status:
            raise ConnectionError("the proxy has closed the request")

    async def read(self) -> bytes:
        """The whole body."""
        pieces = []
        while piece := await self.content.readany():
            pieces.append(piece)
        return b"".join(pieces)
