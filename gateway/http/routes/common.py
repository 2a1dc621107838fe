"""What every route reads from a request."""

from __future__ import annotations

import logging

from starlette.requests import Request

from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.jobs.room import Room
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.gateway.tenants.errors import Unauthorized
from adapterworks.gateway.tenants.keys import key_id_of
from adapterworks.gateway.tenants.tenant import Tenant

_log = logging.getLogger("adapterworks.gateway.access")


def gateway_of(request: Request) -> Gateway:
    """The gateway this application was made for."""
    gateway: Gateway = request.app.state.gateway
    return gateway


def room_of(request: Request) -> Room:
    """The gateway's files and jobs; only of paths that there are with `[jobs]` on."""
    room: Room = request.app.state.room
    return room


def receipt_of(request: Request) -> Receipt:
    """The request's receipt; made on first use."""
    receipt: Receipt | None = getattr(request.state, "receipt", None)
    if receipt is None:
        receipt = request.state.receipt = Receipt()
    return receipt


def tenant_of(request: Request) -> Tenant:
    """The caller, by `Authorization: Bearer KEY` or, as Anthropic's clients do, `x-api-key`.

    Raises:
        Unauthorized: no key, or one that does not work.
    """
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    bearer = key.strip() if scheme.lower() == "bearer" else None
    shown = bearer or request.headers.get("x-api-key")
    gateway = gateway_of(request)
    try:
        tenant = gateway.authenticate(shown)
    except Unauthorized:
        _refused(request, gateway, shown)
        raise
    if gateway.tenants is not None and shown is not None:
        receipt_of(request).key_id = key_id_of(shown) or ""
    return tenant


def _refused(request: Request, gateway: Gateway, shown: str | None) -> None:
    """Somebody tries keys, or has one that was revoked: whoever runs the gateway sees it."""
    known = key_id_of(shown) if shown else None
    kind = "none" if not shown else "unknown" if known is None else "refused"
    gateway.metrics.refusals.labels("", f"auth_{kind}").inc()
    fields = {
        "request_id": receipt_of(request).request_id,
        "status": 401,
        "client": request.client.host if request.client is not None else "",
        "key_id": known or "",
    }
    _log.warning("not let in", extra={"fields": fields})
