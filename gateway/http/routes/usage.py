"""`/v1/usage`: what the caller has used, and what it may.

Invariant: sums are of the caller's own id: a tenant that has the name of a removed one sees nothing
of that one's.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import get_args

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.http.routes.common import charge, gateway_of, receipt_of, tenant_of
from adapterworks.gateway.metering.usage import By, usage
from adapterworks.gateway.request.errors import InvalidField

_GROUPS: dict[str, By] = {name: name for name in get_args(By) if name != "tenant"}


def routes() -> list[Route]:
    """`/v1/usage`."""
    return [Route("/v1/usage", own_usage, methods=["GET"])]


async def own_usage(request: Request) -> Response:
    """Sums by `by`, oldest first; an answer is counted within a second.

    Raises:
        InvalidField: `by` is no group.
        InvalidInput: `since` or `until` is no day.
    """
    tenant, gateway = tenant_of(request), gateway_of(request)
    query = request.query_params
    names = query.get("by", "day").split(",")
    if len(names) > len(_GROUPS) or any(name not in _GROUPS for name in names):
        raise InvalidField(f"`by` is none of {', '.join(_GROUPS)}", param="by")
    rows = await asyncio.to_thread(
        usage,
        gateway.registry.database,
        by=[_GROUPS[name] for name in dict.fromkeys(names)],
        tenant_id=tenant.id,
        since=query.get("since") or None,
        until=query.get("until") or None,
    )
    charge(request, len(rows))
    limits = tenant.limits.over(gateway.config.limits.tenant_limits())
    answer = {
        "object": "list",
        "data": [{"object": "usage", **row.to_json()} for row in rows],
        "has_more": False,
        "limits": asdict(limits),
    }
    return JSONResponse(answer, headers=receipt_of(request).headers())
