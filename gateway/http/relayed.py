"""The relayed paths, in front of the router: what most requests are is looked up once.

Invariant: a request answered here is answered as the router would have it answered, by the same
function with the same errors; whatever is not a POST to one of these paths goes on to the router.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from adapterworks.gateway.request.exchange import Exchange
from adapterworks.manifests.errors import AdapterworksError

Handle = Callable[[Request], Awaitable[Exchange]]
Say = Callable[[Request, Exception], Awaitable[Response]]


class Relayed:
    """Answers the relayed paths.

    Args:
        handlers: by path, for POST.
        say: how an error of ours is answered.
    """

    def __init__(self, app: ASGIApp, handlers: Mapping[str, Handle], say: Say) -> None:
        self._app = app
        self._handlers = handlers
        self._say = say

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass it on."""
        handle = self._handlers.get(scope["path"]) if scope["type"] == "http" else None
        if handle is None or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        exchange: Exchange | None = None
        try:
            exchange = await handle(request)
            await exchange(scope, receive, send)
        except AdapterworksError as error:
            if exchange is not None and exchange.begun:
                raise RuntimeError("an error of ours, after the answer had begun") from error
            response = await self._say(request, error)
            await response(scope, receive, send)
            # It may be raised again for another request, and would gather tracebacks.
            error.__traceback__ = None
