"""The private socket of a running gateway: what it says of itself, and what it is asked to hold.

`adapters ps` prints the former, `adapters apply` asks for the latter; both are for the user whose
gateway it is, who alone can open the socket.
"""

from __future__ import annotations

import os
import time
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.local import LocalEngine
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.http.resident import have_resident
from adapterworks.gateway.residency.entry import Entry
from adapterworks.gateway.residency.verdict import ProofFailed
from adapterworks.manifests.errors import AdapterworksError, Unavailable


def create_status_app(gateway: Gateway, port: int) -> Starlette:
    """Two paths: `GET /status`, and `POST /resident` with `{"digest": …, "pin": …}`."""

    async def status(request: Request) -> JSONResponse:
        return JSONResponse(describe(gateway, port))

    async def resident(request: Request) -> JSONResponse:
        wanted = await request.json()
        try:
            engines = await have_resident(gateway, wanted["digest"], pin=bool(wanted["pin"]))
        except AdapterworksError as error:
            kind = "unavailable" if isinstance(error, Unavailable) else "refused"
            answer = {"error": error.message, "hint": error.hint, "kind": kind}
            return JSONResponse(answer, status_code=503 if kind == "unavailable" else 409)
        return JSONResponse({"engines": engines})

    return Starlette(
        routes=[Route("/status", status), Route("/resident", resident, methods=["POST"])]
    )


def describe(gateway: Gateway, port: int) -> dict[str, Any]:
    """The gateway, its engines and what they hold, as JSON values. Times are in seconds."""
    ready, reason = gateway.ready
    return {
        "pid": os.getpid(),
        "host": gateway.config.host,
        "port": port,
        "open": gateway.tenants is None,
        "ready": ready,
        "reason": reason,
        "uptime": round(time.time() - gateway.started, 1),
        "engines": [_engine(gateway, engine) for engine in gateway.pool.engines],
    }


def _engine(gateway: Gateway, engine: Engine) -> dict[str, Any]:
    health = engine.health
    described: dict[str, Any] = {
        "id": engine.id,
        "base": engine.base.name,
        "base_digest": engine.base.digest,
        "quantization": engine.base.quantization,
        "state": health.state,
        "reason": health.reason,
        "generation": health.generation,
        "inflight": engine.inflight,
        "slots": engine.slots,
        "capacity": engine.capacity,
        "adapters": [_entry(entry) for entry in gateway.residency(engine).entries],
    }
    if isinstance(engine, LocalEngine):
        described["pid"] = engine.pid
        described["log"] = str(engine.log)
        described["max_lora_rank"] = engine.spec.max_lora_rank
    return described


def _entry(entry: Entry) -> dict[str, Any]:
    servable = entry.release.servable
    proof = entry.proof
    return {
        "name": entry.release.name,
        "digest": entry.release.digest,
        "method": entry.release.method,
        "form": servable.form if servable else None,
        "origin": servable.origin if servable else None,
        "state": entry.stage,
        "step": entry.step if entry.stage in ("waiting", "loading") else None,
        "pinned": entry.pinned,
        "inflight": entry.users,
        "requests": entry.requests,
        "age": round(time.time() - entry.since, 1),
        "error": entry.error.message if entry.error else None,
        "findings": list(entry.error.findings) if isinstance(entry.error, ProofFailed) else [],
        "proof": None
        if proof is None
        else {
            "state": "refused" if entry.stage == "refused" else proof.state,
            "note": proof.note,
            "divergence": proof.divergence,
            "separation": proof.separation,
            "milliseconds": round(proof.milliseconds, 1),
            "tokens": proof.tokens,
        },
    }
