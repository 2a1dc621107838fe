"""`/v1/models`: the bases and adapters that the caller may use, and no others."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.http.routes.common import gateway_of, receipt_of, tenant_of
from adapterworks.gateway.residency.resolve import missing
from adapterworks.gateway.tenants.tenant import BASE_PREFIX, Tenant
from adapterworks.manifests.refs import DEFAULT_ALIAS
from adapterworks.registry.releases.types import NameRow

_PAGE = 200


def routes() -> list[Route]:
    """The list, and one model by its name."""
    return [
        Route("/v1/models", list_models, methods=["GET"]),
        Route("/v1/models/{model:path}", get_model, methods=["GET"]),
    ]


async def list_models(request: Request) -> Response:
    """Bases first, then adapters by name; each alias is a model."""
    tenant, gateway = tenant_of(request), gateway_of(request)
    models = _bases(gateway, tenant) + await asyncio.to_thread(_adapters, gateway, tenant)
    headers = receipt_of(request).headers()
    return JSONResponse({"object": "list", "data": models}, headers=headers)


async def get_model(request: Request) -> Response:
    """One model, by any ref; a hidden one looks like a missing one.

    Raises:
        NotFound: it does not exist, or the caller may not use it.
    """
    tenant, gateway = tenant_of(request), gateway_of(request)
    name = request.path_params["model"]
    target = await gateway.resolver.target(name, tenant.id)
    if not tenant.may_use(target.access):
        raise missing(name)
    receipt = receipt_of(request)
    receipt.target = target
    release = target.release
    created = release.created if release is not None else ""
    parent = release.base.model if release is not None else None
    return JSONResponse(_model(name, created, parent), headers=receipt.headers())


def _bases(gateway: Gateway, tenant: Tenant) -> list[dict[str, Any]]:
    names = {engine.base.name: engine.base for engine in gateway.pool.engines}
    return [_model(name, "", None) for name in names if tenant.may_use(BASE_PREFIX + name)]


def _adapters(gateway: Gateway, tenant: Tenant) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = []
    after: str | None = None
    while page := gateway.registry.names(limit=_PAGE, after=after):
        for row in page:
            if tenant.may_use(row.name):
                models += [_model(ref, row.updated, None) for ref in _refs(row)]
        after = page[-1].name
    return models


def _refs(row: NameRow) -> list[str]:
    bare = [row.name] if DEFAULT_ALIAS in row.aliases else []
    others = [f"{row.name}:{alias}" for alias in sorted(row.aliases) if alias != DEFAULT_ALIAS]
    newest = [f"{row.name}@{row.latest}"] if row.latest is not None and not row.aliases else []
    return bare + others + newest


def _model(name: str, created: str, parent: str | None) -> dict[str, Any]:
    moment = int(datetime.fromisoformat(created).timestamp()) if created else 0
    return {
        "id": name,
        "object": "model",
        "created": moment,
        "owned_by": "adapterworks",
        "parent": parent,
    }
