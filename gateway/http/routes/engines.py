"""`/v1/engines`: what answers here, what it holds, and what has been proved of it.

Invariant: of adapters only those that the caller may use are named; where engines run, and what
tells of everybody's traffic (counts, reasons, ages), is for a caller that may use everything.
"""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.http.routes.common import gateway_of, receipt_of, tenant_of
from adapterworks.gateway.residency.entry import Entry
from adapterworks.gateway.tenants.patterns import BASE_PREFIX
from adapterworks.gateway.tenants.tenant import Tenant


def routes() -> list[Route]:
    """`/v1/engines`."""
    return [Route("/v1/engines", list_engines, methods=["GET"])]


async def list_engines(request: Request) -> Response:
    """The engines of the bases that the caller may use, and those that hold an adapter of its own.

    `slots` is how many adapters one batch can mix, `capacity` how many can be loaded.
    """
    tenant, gateway = tenant_of(request), gateway_of(request)
    described = [
        _engine(gateway, engine, tenant, number)
        for number, engine in enumerate(gateway.pool.engines, 1)
    ]
    data = [
        values
        for values in described
        if values["adapters"] or tenant.may_use(BASE_PREFIX + values["base"])
    ]
    return JSONResponse(
        {"object": "list", "data": data, "has_more": False}, headers=receipt_of(request).headers()
    )


def _engine(gateway: Gateway, engine: Engine, tenant: Tenant, number: int) -> dict[str, Any]:
    everything = "*" in tenant.allow
    health = engine.health
    entries = [e for e in gateway.residency(engine).entries if tenant.may_use(e.release.name)]
    values: dict[str, Any] = {
        "id": engine.id if everything else f"engine-{number}",
        "object": "engine",
        "base": engine.base.name,
        "base_digest": engine.base.digest,
        "quantization": engine.base.quantization,
        "state": health.state,
        "slots": engine.slots,
        "capacity": engine.capacity,
        "max_model_len": engine.context,
        "adapters": [_entry(entry, everything) for entry in entries],
    }
    if everything:
        values |= {
            "reason": health.reason,
            "inflight": engine.inflight,
            "waiting": gateway.queue(engine).waiting,
            "starts": health.generation,
        }
    return values


def _entry(entry: Entry, everything: bool) -> dict[str, Any]:
    proof = entry.proof
    state = "refused" if entry.stage == "refused" else proof.state if proof else None
    values: dict[str, Any] = {
        "name": entry.release.name,
        "digest": entry.release.digest,
        "method": entry.release.method,
        "state": entry.stage,
        "proof": None
        if proof is None
        else {"state": state, "note": proof.note, "milliseconds": round(proof.milliseconds, 1)},
    }
    if everything:
        values |= {
            "pinned": entry.pinned,
            "inflight": entry.users,
            "requests": entry.requests,
            "age": round(time.time() - entry.since, 1),
        }
    return values
