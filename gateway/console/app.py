"""The console's application: its pages, what is said when there is none, and what guards them."""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from adapterworks.gateway.config.tables import GatewayConfig
from adapterworks.gateway.console.assets import Assets
from adapterworks.gateway.console.guard import Guard
from adapterworks.gateway.console.inside import Denied
from adapterworks.gateway.console.issuers_door import IssuersDoor
from adapterworks.gateway.console.page import Templates
from adapterworks.gateway.console.pages import (
    adapter,
    adapters,
    builds,
    file,
    files,
    issuers_login,
    jobs,
    login,
    overview,
    playground,
    release,
    requests,
    review,
    settings,
    tenants,
    usage,
)
from adapterworks.gateway.console.pages.problem import Problem
from adapterworks.gateway.console.sessions import Sessions
from adapterworks.gateway.console.visit import Console, visit_of
from adapterworks.gateway.tokens.issuer import Issuer

_log = logging.getLogger(__name__)


def create_console(api: ASGIApp, config: GatewayConfig, issuer: Issuer | None = None) -> Starlette:
    """The pages of a gateway, to be mounted at `/console`.

    Args:
        api: the gateway's whole public application, which the pages ask.
        issuer: whose persons may log in.
    """
    app = Starlette(
        routes=[
            *login.ROUTES,
            *issuers_login.ROUTES,
            *settings.ROUTES,
            *overview.ROUTES,
            *files.ROUTES,
            *file.ROUTES,
            *jobs.ROUTES,
            *playground.ROUTES,
            *adapters.ROUTES,
            *adapter.ROUTES,
            *release.ROUTES,
            *requests.ROUTES,
            *review.ROUTES,
            *usage.ROUTES,
            *tenants.ROUTES,
            *builds.ROUTES,
            *Assets().routes(),
        ],
        middleware=[Middleware(Guard, local=config.console.enabled is None)],
        exception_handlers={Denied: _denied, HTTPException: _http, Exception: _unexpected},
    )
    app.router.redirect_slashes = False
    sessions = Sessions(config.console.session_hours * 3600)
    door = None if issuer is None else IssuersDoor(issuer)
    app.state.console = Console(api, sessions, Templates(), door)
    return app


async def _denied(request: Request, error: Exception) -> Response:
    assert isinstance(error, Denied)
    return visit_of(request).show(
        Problem(status=error.status, message=error.message, hint=error.hint), error.status
    )


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    visit = visit_of(request)
    key = {403: "problem.form", 404: "problem.page"}.get(error.status_code, "problem.request")
    return visit.show(
        Problem(status=error.status_code, message=visit.words(key), hint=""), error.status_code
    )


async def _unexpected(request: Request, error: Exception) -> Response:
    _log.error("page %s failed", request.url.path, exc_info=error)
    visit = visit_of(request)
    return visit.show(Problem(status=500, message=visit.words("problem.ours"), hint=""), 500)
