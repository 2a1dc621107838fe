"""Who may ask a gateway that lets anyone in: programs of this machine, and no page of the Web.

Such a gateway listens on loopback only, and a browser there is on loopback as well. It sends what a
page tells it to, with a plain content type without asking first, and a host whose name is made to
point to this machine (DNS rebinding) is to it the page's own.

Invariant: a page that is not named in `cors_origins` has nothing done and reads nothing. What no
page sends, a program of this machine, passes.

The console has a door of its own (gateway/console/guard.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from adapterworks.gateway.console.guard import is_local
from adapterworks.gateway.request.errors import Forbidden, error_body, shape_of
from adapterworks.gateway.request.receipts import Receipt

_CONSOLE = "/console"


class OwnPages:
    """Answers 403 to pages of elsewhere.

    Args:
        origins: whose scripts may call: `https://app.example`, or `*`; their hosts may be asked
            for by name, too.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._anybody = "*" in origins
        self._origins = frozenset(origins)
        self._hosts = frozenset(urlsplit(origin).netloc for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        error = self._wrong(scope) if scope["type"] == "http" and not self._anybody else None
        if error is None:
            await self._app(scope, receive, send)
            return
        refusal = Response(
            error_body(error),
            status_code=shape_of(error).status,
            media_type="application/json",
            headers=Receipt().headers(),
        )
        await refusal(scope, receive, send)

    def _wrong(self, scope: Scope) -> Forbidden | None:
        path = scope["path"]
        if path == _CONSOLE or path.startswith(f"{_CONSOLE}/"):
            return None
        headers = Headers(scope=scope)
        host = headers.get("host")  # what no browser leaves out
        if host is not None and not is_local(host) and host.lower() not in self._hosts:
            return Forbidden(
                f"this gateway lets anyone in, and so answers this machine, not `{host[:100]}`",
                hint="ask 127.0.0.1, or name `http://HOST` in gateway.toml: `[http] cors_origins`",
            )
        if self._of_a_stranger(headers, host):
            return Forbidden(
                "this gateway lets anyone in, but no page of another site",
                hint="name the page's origin in gateway.toml: `[http] cors_origins`",
            )
        return None

    def _of_a_stranger(self, headers: Headers, host: str | None) -> bool:
        """Whether a page of another origin has it sent; a link that somebody follows does not."""
        origin = headers.get("origin")
        if origin is not None:
            return origin not in self._origins and urlsplit(origin).netloc != host
        site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
        return site in ("cross-site", "same-site") and mode != "navigate"
