"""Where `adapters login` learns whom to ask: OAuth's metadata of a protected resource (RFC 9728).

There only where the registry has an issuer; it is no secret, and asks for no token.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.http.routes.registry.desk import Desk

PATH = "/.well-known/oauth-protected-resource"


def routes(desk: Desk) -> list[Route]:
    """The path, if the desk takes tokens of an issuer."""
    return [] if desk.issuer is None else [Route(PATH, metadata, methods=["GET"])]


async def metadata(request: Request) -> Response:
    """The issuer, and the client that logs in with it (`adapters_client_id`, which is ours)."""
    desk: Desk = request.app.state.desk
    assert desk.issuer is not None, "the path is there only with one"
    trusted = desk.issuer.trusted
    return JSONResponse(
        {
            "resource": str(request.base_url).rstrip("/"),
            "authorization_servers": [trusted.issuer],
            "scopes_supported": list(trusted.scopes),
            "bearer_methods_supported": ["header"],
            "adapters_client_id": trusted.client_id,
        }
    )
