"""Liveness and readiness: `/health` says that the process runs, `/ready` that it can answer."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.http.routes.common import gateway_of


def routes() -> list[Route]:
    """`/health` and `/ready`."""
    return [Route("/health", health, methods=["GET"]), Route("/ready", ready, methods=["GET"])]


async def health(request: Request) -> Response:
    """200 while the process can go on; 503 says that it should be started again.

    `model_loaded` is whether an engine can answer now.
    """
    gateway = gateway_of(request)
    healthy, reason = gateway.healthy
    if not healthy:
        return JSONResponse({"status": "failing", "reason": reason}, status_code=503)
    loaded = any(engine.health.state == "ready" for engine in gateway.pool.engines)
    return JSONResponse({"status": "ok", "model_loaded": loaded})


async def ready(request: Request) -> Response:
    """200 when every base has an engine that can answer, and all that must run runs."""
    is_ready, reason = gateway_of(request).ready
    if is_ready:
        return JSONResponse({"status": "ready"})
    return JSONResponse(
        {"status": "not ready", "reason": reason}, status_code=503, headers={"retry-after": "5"}
    )
