"""`/metrics` in Prometheus' text format.

It names tenants and adapters, so unless the gateway is open it needs the key of a tenant that may
use everything (`--allow '*'`); to anyone else the path does not exist.
"""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.http.routes.common import gateway_of, tenant_of
from adapterworks.gateway.observe.as_vllm import Doing
from adapterworks.gateway.observe.metrics import CONTENT_TYPE


def routes() -> list[Route]:
    """`/metrics`."""
    return [Route("/metrics", metrics, methods=["GET"])]


async def metrics(request: Request) -> Response:
    """The series, with gauges as they are now."""
    if "*" not in tenant_of(request).allow:
        raise HTTPException(404)
    gateway = gateway_of(request)
    refresh(gateway)
    # Beside the event loop: many series take a second, in which no stream may stand still.
    text = await asyncio.to_thread(gateway.metrics.render)
    return Response(text, headers={"content-type": CONTENT_TYPE})


def refresh(gateway: Gateway) -> None:
    """Set the gauges that are read off the gateway's state."""
    metrics = gateway.metrics
    metrics.backlog_bytes.set(gateway.meter.backlog)
    metrics.set_aside.set(gateway.meter.set_aside)
    metrics.only_engines({engine.id for engine in gateway.pool.engines})
    doing: dict[str, Doing] = {}
    for engine in gateway.pool.engines:
        metrics.engine_up.labels(engine.id).set(engine.health.state == "ready")
        metrics.running.labels(engine.id).set(engine.inflight)
        metrics.waiting.labels(engine.id).set(gateway.queue(engine).waiting)
        entries = tuple(gateway.residency(engine).entries)
        resident = [entry.release.name for entry in entries if entry.stage == "resident"]
        metrics.set_resident(engine.id, resident)
        now = Doing(
            engine.inflight,
            gateway.queue(engine).waiting,
            engine.slots if engine.health.state == "ready" else 0,
            frozenset(resident),
            frozenset(e.release.name for e in entries if e.stage in ("waiting", "loading")),
        )
        doing[engine.base.name] = doing.get(engine.base.name, Doing()) + now
    metrics.as_vllm.now = doing
