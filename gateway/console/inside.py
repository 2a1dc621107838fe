"""The public API, asked in this process with the key of whoever looks at the page.

Invariant: a page reads and acts through here only, so it can do what its key can do over the
network and nothing more; no header of the browser's (its cookie above all) goes along.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What of a browser's request describes its body, where that is handed on as it comes.
_OF_THE_BODY = (b"content-type", b"content-length")
_MOST_ANSWER = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def values(self) -> dict[str, Any]:
        """The body as a JSON object; empty if it is none."""
        try:
            values = json.loads(self.body)
        except ValueError:
            return {}
        return values if isinstance(values, dict) else {}


class Denied(Exception):
    """The API said no; it is shown in its own words.

    Attributes:
        off: whether the gateway has nothing at this path, as without `[jobs]`.
        faults: of a file's lines, as `/v1/files` names them.
    """

    def __init__(self, answer: Answer) -> None:
        error = answer.values.get("error")
        values = error if isinstance(error, dict) else {}
        message, _, hint = str(values.get("message", "")).partition("\n\nhint: ")
        self.status = answer.status
        self.message = message or f"HTTP {answer.status}"
        self.hint = hint
        self.code = str(values.get("code", ""))
        self.off = self.code == "path_not_found"
        self.faults: list[dict[str, Any]] = list(values.get("faults", ()))
        super().__init__(self.message)


@dataclass(frozen=True, slots=True)
class Inside:
    """One caller's way to the API.

    Args:
        app: the gateway's whole application.
        key: what the API is shown as `Authorization: Bearer`; empty: nothing.
        client: address of the browser, for the gateway's log.
    """

    app: ASGIApp
    key: str = field(repr=False)
    client: tuple[str, int] | None = None

    async def get(self, path: str, **query: str | int | None) -> dict[str, Any]:
        """The JSON object at a path; parameters that are None are left out.

        Raises:
            Denied: it is none, or not the caller's.
        """
        return _allowed(await self.ask("GET", path, query=query)).values

    async def post(self, path: str, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a JSON object; the one that came back.

        Raises:
            Denied: it was refused.
        """
        return _allowed(await self.ask("POST", path, values=values or {})).values

    async def delete(self, path: str) -> dict[str, Any]:
        """Delete what is at a path.

        Raises:
            Denied: it was refused.
        """
        return _allowed(await self.ask("DELETE", path)).values

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int | None] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> Answer:
        """One request, its answer collected."""
        body = b"" if values is None else json.dumps(values).encode()
        pieces: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if pieces:
                return pieces.pop()
            # The caller stays for the answer: nothing else ever comes.
            never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
            return await never

        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        scope = self._scope(method, path, query or {}, headers if values is not None else [])
        return await self._collected(scope, receive)

    async def send_on(self, request: Request, path: str) -> Answer:
        """The browser's own body, unread, to a path of the API."""
        headers = [pair for pair in request.scope["headers"] if pair[0] in _OF_THE_BODY]
        return await self._collected(
            self._scope(request.method, path, {}, headers), request.receive
        )

    def through(
        self, request: Request, path: str, query: Mapping[str, str | int | None] | None = None
    ) -> Through:
        """The API's own answer for the browser, as it comes (streams)."""
        headers = [pair for pair in request.scope["headers"] if pair[0] in _OF_THE_BODY]
        return Through(self.app, self._scope(request.method, path, query or {}, headers))

    async def _collected(self, scope: Scope, receive: Receive) -> Answer:
        status, headers, parts, size = 500, {}, [], 0

        async def send(message: Message) -> None:
            nonlocal status, headers, size
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in message["headers"]}
            else:
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > _MOST_ANSWER:
                    raise ValueError(f"`{scope['path']}` answered more than a page can show")

        await self.app(scope, receive, send)
        return Answer(status, headers, b"".join(parts))

    def _scope(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int | None],
        headers: list[tuple[bytes, bytes]],
    ) -> Scope:
        shown = [(b"authorization", b"Bearer " + self.key.encode())] if self.key else []
        given = {name: value for name, value in query.items() if value is not None}
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": urlencode(given).encode(),
            "root_path": "",
            "headers": [(b"host", b"localhost"), *shown, *headers],
            "client": self.client,
            "server": ("console", None),
            "state": {},
        }


@dataclass(frozen=True, slots=True)
class Through:
    """An answer of the API's, handed on piece by piece; an ASGI application of one request."""

    app: ASGIApp
    scope: Scope

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await self.app(self.scope, receive, send)


def next_page(found: Mapping[str, Any]) -> str | None:
    """The id after which a list of the API goes on; None if this was its end."""
    return found["last_id"] if found["has_more"] else None


def part(text: str) -> str:
    """One part of a path, whatever is in it: it can become no other path.

    Raises:
        Denied: it is none.
    """
    if not text or text in (".", "..") or "/" in text or "\x00" in text:
        raise Denied(Answer(404, {}, b'{"error": {"message": "no such thing"}}'))
    return text


def _allowed(answer: Answer) -> Answer:
    if answer.status >= 400:
        raise Denied(answer)
    return answer
