"""The paths that a platform asks its containers on: SageMaker AI's, Vertex AI's.

Behind them is what is behind every other path: typed requests, limits, receipts, metering. The
platform knows the caller and hands no key on; requests are then of the tenant whose key the
gateway was given for it (`[http] container_key_env`).
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp

from adapterworks.gateway.config.container import Contract
from adapterworks.gateway.http.routes.common import (
    gateway_of,
    receipt_of,
    tenant_of,
    understood,
)
from adapterworks.gateway.http.routes.health import ready
from adapterworks.gateway.request.body import Body
from adapterworks.gateway.request.endpoints import Call
from adapterworks.gateway.request.exchange import Exchange
from adapterworks.gateway.request.instances import Predictions, call_of, calls_of
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.gateway.tenants.keys import key_id_of
from adapterworks.gateway.tenants.tenant import Tenant
from adapterworks.manifests.errors import InvalidInput

# A platform's health may be asked where ours is: what it is told is whether requests can be sent.
_HEALTH = frozenset({"/health", "/ready"})


def routes(contract: Contract, others: Iterable[Route]) -> list[Route]:
    """The contract's two paths.

    Args:
        others: the gateway's own, which stay what they are.

    Raises:
        InvalidInput: one of the contract's is among them.
    """
    for path in {contract.health} - _HEALTH | {contract.predict}:
        if any(other.path_regex.match(path) for other in others):
            raise InvalidInput(
                f"`{path}` is a path of the gateway's own, and cannot be the platform's",
                hint="choose others: `[http] health_route` and `predict_route`, or "
                "AIP_HEALTH_ROUTE and AIP_PREDICT_ROUTE",
            )

    async def predict(request: Request) -> ASGIApp:
        gateway, receipt = gateway_of(request), receipt_of(request)
        tenant = _tenant(request)
        default = gateway.config.default_adapter

        def asked(body: Body) -> tuple[list[Call], bool]:
            if not contract.instances or "instances" not in body.values:
                call = call_of(body, default)
                receipt.ignored = call.ignored
                return [call], False
            receipt.ignored = tuple(sorted(body.values.keys() - {"instances", "parameters"}))
            return calls_of(body, default), True

        calls, listed = await understood(request, asked)
        if not listed:
            return Exchange(gateway, calls[0], tenant, receipt, request.headers)
        exchanges = [
            Exchange(gateway, call, tenant, _part(receipt, number), request.headers)
            for number, call in enumerate(calls)
        ]
        return Predictions(exchanges, receipt)

    return [
        Route(contract.health, ready, methods=["GET"]),
        Route(contract.predict, predict, methods=["POST"]),
    ]


def _tenant(request: Request) -> Tenant:
    """Whom the platform asks for: always the tenant of its key, if the gateway was given one."""
    gateway = gateway_of(request)
    if gateway.container_key is None or gateway.tenants is None:
        return tenant_of(request)
    receipt_of(request).key_id = key_id_of(gateway.container_key) or ""
    tenant = gateway.authenticate(gateway.container_key)
    request.state.tenant = tenant.id
    return tenant


def _part(whole: Receipt, number: int) -> Receipt:
    """Of one instance: metered under a name of its own."""
    return Receipt(request_id=f"{whole.request_id}-{number}", key_id=whole.key_id)
