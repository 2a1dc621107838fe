"""The ASGI application: the listed paths and nothing else, one shape for every error."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route

from adapterworks.gateway.admission.rates import (
    READS_A_MINUTE,
    STREAMS,
    WRITES_A_MINUTE,
    Rate,
    Streams,
)
from adapterworks.gateway.config.container import contract_of
from adapterworks.gateway.config.tables import HttpTable
from adapterworks.gateway.console.app import create_console
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.http.catalogue import Catalogue
from adapterworks.gateway.http.header_limit import HeaderLimit
from adapterworks.gateway.http.own_pages import OwnPages
from adapterworks.gateway.http.relayed import Handle, Relayed
from adapterworks.gateway.http.routes import (
    batches,
    container,
    engines,
    files,
    fine_tuning,
    graders,
    health,
    inference,
    metrics,
    models,
    openapi,
    reviews,
    stored,
    usage,
)
from adapterworks.gateway.http.routes.common import receipt_of
from adapterworks.gateway.http.routes.registry import who_logs_in
from adapterworks.gateway.http.routes.registry.desk import Desk, open_desk
from adapterworks.gateway.http.routes.registry.table import routes as registry_routes
from adapterworks.gateway.jobs.room import open_room
from adapterworks.gateway.jobs.running_graders import Graders
from adapterworks.gateway.request.errors import (
    MethodNotAllowed,
    NoSuchPath,
    error_body,
    error_headers,
    shape_of,
)
from adapterworks.gateway.tokens.roles import role_of
from adapterworks.manifests.errors import AdapterworksError, IntegrityError, InvalidInput

_log = logging.getLogger(__name__)
# Paths that are there only with a table of gateway.toml.
_OPTIONAL = {
    "jobs": ("/v1/files", "/v1/uploads", "/v1/fine_tuning/", "/v1/batches"),
    "registry": ("/v1/registry",),
}
_WHAT = {"jobs": "files, jobs and batches", "registry": "the registry over HTTP"}


def create_app(gateway: Gateway) -> Starlette:
    """The public application of one gateway; it neither starts nor stops it."""
    routes: list[Route] = [
        *inference.routes(),
        *stored.routes(),
        *reviews.routes(),
        *models.routes(),
        *engines.routes(),
        *usage.routes(),
        *health.routes(),
        *metrics.routes(),
        *openapi.routes(),
    ]
    config, desk = gateway.config, None
    if config.jobs.on:
        routes += [*files.routes(), *fine_tuning.routes(), *graders.routes(), *batches.routes()]
    if config.registry.on:
        word = config.registry.anonymous
        anonymous = None if word is None else role_of(word)
        keys = gateway.capture.store.files.keys.folder
        oidc = config.registry.oidc
        desk = open_desk(gateway.registry, anonymous, config.http, oidc, keys)
        routes += [*registry_routes(), *who_logs_in.routes(desk)]
    if (contract := contract_of(config.http)) is not None:
        routes = [*container.routes(contract, routes), *routes]
    app = _application(routes, config.http, inference.handlers(), anyone=config.open)
    app.state.gateway = gateway
    app.state.desk = desk
    app.state.off = [table for table in _OPTIONAL if not getattr(config, table).on]
    app.state.catalogue = Catalogue(gateway)
    app.state.writes = Rate(WRITES_A_MINUTE, "writes")
    app.state.reads = Rate(READS_A_MINUTE, "reads")
    app.state.streams = Streams(STREAMS)
    if config.jobs.on:
        app.state.room = open_room(gateway)
        app.state.graders = Graders(gateway.grading, python=config.jobs.python_graders)
    if config.has_console:
        app.router.routes += [
            Route("/console", _to_console, methods=["GET"]),
            Mount("/console", app=create_console(app, config, desk.issuer if desk else None)),
        ]
    return app


def create_registry_app(desk: Desk) -> Starlette:
    """The registry alone, without engines."""
    routes = [*registry_routes(), *who_logs_in.routes(desk), *openapi.registry_routes()]
    app = _application(routes, desk.http)
    app.state.desk = desk
    app.state.off = []
    return app


def _application(
    routes: list[Route],
    http: HttpTable,
    relayed: Mapping[str, Handle] | None = None,
    *,
    anyone: bool = False,
) -> Starlette:
    app = Starlette(
        routes=routes,
        middleware=_middleware(http, relayed, anyone=anyone),
        exception_handlers={
            AdapterworksError: _known,
            HTTPException: _http,
            Exception: _unexpected,
        },
    )
    app.router.redirect_slashes = False
    return app


def _middleware(
    http: HttpTable, relayed: Mapping[str, Handle] | None, *, anyone: bool
) -> list[Middleware]:
    """What every request passes, outermost first.

    Args:
        anyone: no key is asked for.
    """
    found = [Middleware(HeaderLimit, limit=http.header_limit)]
    if anyone:
        found.append(Middleware(OwnPages, origins=http.cors_origins))
    if http.cors_origins:
        found.append(
            Middleware(
                CORSMiddleware,
                allow_origins=http.cors_origins,
                allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
                allow_headers=["*"],
                expose_headers=["*"],
                max_age=600,
            )
        )
    if relayed is not None:
        found.append(Middleware(Relayed, handlers=relayed, say=_known))
    return found


async def _to_console(request: Request) -> Response:
    return RedirectResponse("/console/")


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, AdapterworksError)
    if isinstance(error, IntegrityError):
        # The answer does not name the file; whoever has to mend it reads it here.
        _log.error("request %s: %s", receipt_of(request).request_id, error)
    return _render(request, error)


async def _http(request: Request, error: Exception) -> Response:
    """What Starlette itself says no to: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        path = request.url.path
        hint = None
        for table in request.app.state.off:
            if path.startswith(_OPTIONAL[table]):
                hint = f"`[{table}] on = true` in gateway.toml turns {_WHAT[table]} on"
        return _render(request, NoSuchPath(f"no such path: `{path[:200]}`", hint=hint))
    if error.status_code == 405:
        wrong = MethodNotAllowed(f"`{request.url.path}` does not take {request.method}")
        return _render(request, wrong, error.headers)
    return _render(request, InvalidInput("the request is malformed"))


async def _unexpected(request: Request, error: Exception) -> Response:
    receipt = receipt_of(request)
    _log.error("request %s failed", receipt.request_id, exc_info=error)
    return _render(request, AdapterworksError("something went wrong in the gateway"))


def _render(
    request: Request, error: AdapterworksError, headers: Mapping[str, str] | None = None
) -> Response:
    anthropic = bool(getattr(request.state, "anthropic", False))
    return Response(
        error_body(error, anthropic=anthropic),
        status_code=shape_of(error).status,
        media_type="application/json",
        headers={**receipt_of(request).headers(), **error_headers(error), **(headers or {})},
    )
