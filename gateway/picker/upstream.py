"""An engine's answer that Envoy brings, as what reads answers knows one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from multidict import CIMultiDict

_LIMIT = 1 << 16


class Upstream:
    """What is used of `aiohttp.ClientResponse`; it begins when Envoy has the engine's head.

    Attributes:
        status: of the engine.
        content: the body, as it comes.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.status = 0
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.content = StreamReader(BaseProtocol(loop), _LIMIT, loop=loop)
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

    def feed(self, data: bytes, *, end: bool) -> None:
        """More of the body."""
        if data:
            self.content.feed_data(data)
        if end:
            self.content.feed_eof()

    def broken(self) -> None:
        """Envoy has gone: what is not here will not come."""
        if not self.content.is_eof():
            self.content.set_exception(ConnectionError("the proxy has closed the request"))
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
        return await self.content.read()
