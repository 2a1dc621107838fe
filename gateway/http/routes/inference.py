"""The relayed endpoints: read, authenticate, hand over to an `Exchange`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.routing import Route

from gateway.exchange import Exchange, read_json
from gateway.fields import ENDPOINTS, Endpoint
from gateway.receipts import Receipt
from gateway.routes.common import gateway_of, receipt_of, tenant_of
from gateway.tenant import Tenant


def routes() -> list[Route]:
    """One route per relayed path."""
    return [_route(endpoint) for endpoint in ENDPOINTS]


def _route(endpoint: Endpoint) -> Route:
    async def handle(request: Request) -> Exchange:
        request.state.anthropic = endpoint.anthropic
        receipt: Receipt = receipt_of(request)
        tenant: Tenant = tenant_of(request)
        gateway = gateway_of(request)
        http = gateway.config.http
        body, size = await read_json(request, http.body_limit, http.body_seconds)
        return Exchange(gateway, endpoint, tenant, receipt, body, size, request.headers)

    return Route(endpoint.path, handle, methods=["POST"])
