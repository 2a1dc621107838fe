"""The relayed endpoints: authenticate, read, understand, hand over to an `Exchange`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from starlette.requests import Request
from starlette.routing import Route

from adapterworks.gateway.http.routes.common import (
    gateway_of,
    receipt_of,
    tenant_of,
    understood,
)
from adapterworks.gateway.request.endpoints import ENDPOINTS, GENERATE, Endpoint, parse
from adapterworks.gateway.request.exchange import Exchange
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.gateway.tenants.tenant import Tenant


def handlers() -> dict[str, Callable[[Request], Awaitable[Exchange]]]:
    """What answers a POST to each relayed path."""
    return {endpoint.path: _handler(endpoint) for endpoint in (*ENDPOINTS, GENERATE)}


def routes() -> list[Route]:
    """One route per relayed path."""
    return [Route(path, handle, methods=["POST"]) for path, handle in handlers().items()]


def _handler(endpoint: Endpoint) -> Callable[[Request], Awaitable[Exchange]]:
    async def handle(request: Request) -> Exchange:
        request.state.anthropic = endpoint.anthropic
        receipt: Receipt = receipt_of(request)
        tenant: Tenant = tenant_of(request)
        gateway = gateway_of(request)
        default = gateway.config.default_adapter
        call = await understood(request, partial(parse, endpoint, default=default))
        receipt.ignored = call.ignored
        return Exchange(gateway, call, tenant, receipt, request.headers)

    return handle
