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
    """Always 200 while the process answers; `model_loaded` is whether an engine can answer now."""
    loaded = any(engine.health.state == "ready" for engine in gateway_of(request).pool.engines)
    return JSONResponse({"status": "ok", "model_loaded": loaded})


async def ready(request: Request) -> Response:
    """200 when every engine can answer, else 503 with the reason."""
    is_ready, reason = gateway_of(request).ready
    if is_ready:
        return JSONResponse({"status": "ready"})
    return JSONResponse(
        {"status": "not ready", "reason": reason}, status_code=503, headers={"retry-after": "5"}
    )
