"""The outermost layer: requests that are too large in themselves never reach a route."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from adapterworks.gateway.request.errors import HeadersTooLarge, error_body, shape_of
from adapterworks.gateway.request.receipts import Receipt


class HeaderLimit:
    """Answers 431 when a request's headers are above `limit` bytes."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http":
            size = len(scope["raw_path"]) + len(scope["query_string"])
            size += sum(len(name) + len(value) for name, value in scope["headers"])
            if size > self._limit:
                await self._refuse(send)
                return
        await self._app(scope, receive, send)

    async def _refuse(self, send: Send) -> None:
        error = HeadersTooLarge(f"the request's path and headers are above {self._limit} bytes")
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        headers += [(k.encode(), v.encode()) for k, v in Receipt().headers().items()]
        await send(
            {
                "type": "http.response.start",
                "status": shape_of(error).status,
                "headers": headers,
            }
        )
        await send({"type": "http.response.body", "body": error_body(error)})
