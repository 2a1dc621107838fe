"""The connections to one engine that what is relayed goes over.

Invariant: one request at a time has a connection, and none is used again that nobody used for
`keep_seconds`: the engine may be closing it.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from urllib.parse import SplitResult, unquote, urlsplit

from adapterworks.gateway.engines.tls import EngineTls
from adapterworks.gateway.engines.wire import Answer, Wire


class Unreachable(ConnectionError):
    """There is no connection: nothing was asked."""


class Wires:
    """The connections to one engine.

    Args:
        url: of the engine; a path in it stands before every path that is asked.
        socket: the unix socket that it listens on, if it does.
        tls: how its certificate is checked, and what it is shown, if its URL is `https`.
        key: sent as a bearer token.
        seconds: of a whole exchange; `connect_seconds` of its connection; a connection that nobody
            used for `keep_seconds` is not used again.
    """

    def __init__(
        self,
        url: str,
        *,
        socket: str | None = None,
        tls: EngineTls | None = None,
        key: str | None = None,
        seconds: float,
        connect_seconds: float,
        keep_seconds: float,
    ) -> None:
        at = urlsplit(url)
        self._socket, self._seconds = socket, seconds
        self._connect_seconds, self._keep_seconds = connect_seconds, keep_seconds
        self._host = at.hostname or ""
        self._tls = (tls or EngineTls(None, None, None)) if at.scheme == "https" else None
        self._port = at.port or (443 if self._tls is not None else 80)
        self._path = at.path.rstrip("/")
        name = f"[{self._host}]" if ":" in self._host else self._host
        lines = [f"host: {name}" + (f":{at.port}" if at.port else ""), "accept: */*"]
        if (shown := credentials(at, key)) is not None:
            lines.append(f"authorization: {shown}")
        lines += ["content-type: application/json", ""]
        self._lines = "\r\n".join(lines)
        self._all: set[Wire] = set()
        self._idle: list[Wire] = []  # the one that was used last is used next

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Ask, and wait for the answer's head. Whoever asked must `leave` the answer.

        Raises:
            Unreachable: there is no connection; nothing was asked.
            Broken, TimeoutError: there is no answer.
        """
        request = self._request(path, body, headers)
        wire = self._taken() or await self._dial()
        answer = wire.ask(request, self._seconds)
        try:
            await answer.begun()
        except BaseException:
            answer.leave()
            raise
        return answer

    def _forget(self, wire: Wire) -> None:
        self._all.discard(wire)
        if wire in self._idle:
            self._idle.remove(wire)

    def close(self) -> None:
        """Close all; answers under way break off."""
        for wire in list(self._all):
            wire.end()

    def _request(self, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        for name, value in headers.items():
            if not value.isprintable() or not value.isascii():
                raise ValueError(f"the header `{name}` cannot be sent")
        own = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = (
            f"POST {self._path}{path} HTTP/1.1\r\n{self._lines}{own}"
            f"content-length: {len(body)}\r\n\r\n"
        )
        return head.encode("latin-1") + body

    def _taken(self) -> Wire | None:
        while self._idle:
            wire = self._idle.pop()
            fresh = wire.loop.time() - wire.idle_since < self._keep_seconds
            if fresh and wire.usable:
                return wire
            wire.end()
        return None

    async def _dial(self) -> Wire:
        loop = asyncio.get_running_loop()

        def made() -> Wire:
            return Wire(self._idle.append, self._forget)

        try:
            async with asyncio.timeout(self._connect_seconds):
                if self._socket is not None:
                    _, wire = await loop.create_unix_connection(made, self._socket)
                else:
                    tls = self._tls
                    _, wire = await loop.create_connection(
                        made,
                        self._host,
                        self._port,
                        ssl=None if tls is None else tls.context(),
                        server_hostname=None if tls is None else tls.name,
                    )
        except TimeoutError as error:
            raise Unreachable("it did not answer in time") from error
        except OSError as error:
            raise Unreachable("unreachable") from error
        self._all.add(wire)
        return wire


def credentials(at: SplitResult, key: str | None) -> str | None:
    """What an engine is shown: its key, or else the name and password in its URL."""
    if key:
        return f"Bearer {key}"
    if at.username is None:
        return None
    pair = f"{unquote(at.username)}:{unquote(at.password or '')}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"
