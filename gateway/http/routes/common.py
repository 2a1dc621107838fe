"""What every route reads from a request, and how it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from adapterworks.gateway.admission.rates import ROWS_A_READ, Rate, Streams
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.jobs.room import Room
from adapterworks.gateway.request.body import Body, parse_body, read_body
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.gateway.request.turned_away import turned_away
from adapterworks.gateway.tenants.errors import Unauthorized
from adapterworks.gateway.tenants.keys import key_id_of
from adapterworks.gateway.tenants.tenant import Tenant

T = TypeVar("T")


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


async def body_of(request: Request) -> Body:
    """The JSON object that was sent, within the gateway's bounds.

    Raises:
        TooLarge, TooSlow, InvalidInput, RateLimited: as `understood`.
    """
    return await understood(request, lambda body: body)


async def understood(request: Request, understand: Callable[[Body], T]) -> T:
    """What the JSON object that was sent asks for.

    Args:
        understand: what it is, once it is parsed; called beside the loop where it is large.

    Raises:
        TooLarge, TooSlow: as `read_body`.
        InvalidInput: as `parse_body`, and what `understand` raises.
        RateLimited: too many large ones of this caller wait to be parsed.
    """
    gateway = gateway_of(request)
    http = gateway.config.http
    data = await read_body(request, http.body_limit, http.body_seconds)
    who = getattr(request.state, "tenant", "")
    return await gateway.reading.of(who, len(data), lambda: understand(parse_body(data)))


def answer(request: Request, values: Mapping[str, Any]) -> Response:
    """An answer with its receipt."""
    return JSONResponse(values, headers=receipt_of(request).headers())


def shown_key(request: Request) -> str | None:
    """What the caller shows, untrusted; None if it shows nothing."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    bearer = key.strip() if scheme.lower() == "bearer" else None
    return bearer or request.headers.get("x-api-key")


def tenant_of(request: Request) -> Tenant:
    """The caller, by `Authorization: Bearer KEY` or, as Anthropic's clients do, `x-api-key`.

    Raises:
        Unauthorized: no key, or one that does not work.
        RateLimited: it has read as often as it may.
    """
    gateway, shown = gateway_of(request), shown_key(request)
    try:
        tenant = gateway.authenticate(shown)
    except Unauthorized:
        gateway.metrics.refusals.labels("", f"auth_{not_let_in(request, shown)}").inc()
        raise
    request.state.tenant = tenant.id
    if gateway.tenants is not None and shown is not None:
        receipt_of(request).key_id = key_id_of(shown) or ""
    if request.method in ("GET", "HEAD"):
        reads: Rate = request.app.state.reads
        reads.take(tenant.id)
    return tenant


def charge(request: Request, rows: float) -> None:
    """Count what was read for a caller, once it is known."""
    reads: Rate = request.app.state.reads
    reads.charge(request.state.tenant, rows / ROWS_A_READ)


def writer_of(request: Request) -> Tenant:
    """The caller of a path that writes what stays.

    Raises:
        Unauthorized: as `tenant_of`.
        RateLimited: it has written as often as it may.
    """
    tenant = tenant_of(request)
    writes: Rate = request.app.state.writes
    writes.take(tenant.id)
    return tenant


def streams_of(request: Request) -> Streams:
    """The streams that are open, in this gateway."""
    streams: Streams = request.app.state.streams
    return streams


def not_let_in(request: Request, shown: str | None) -> str:
    """Note that a caller was not let in; returns why, as `turned_away` says."""
    client = request.client.host if request.client is not None else ""
    return turned_away(shown, request_id=receipt_of(request).request_id, client=client)
