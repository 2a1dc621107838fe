"""`/v1/models`: the bases and adapters that the caller may use, and no others."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.http.routes.common import gateway_of, receipt_of, tenant_of
from adapterworks.gateway.residency.resolve import missing
from adapterworks.gateway.tenants.tenant import BASE_PREFIX, Tenant
from adapterworks.manifests.errors import NotFound
from adapterworks.manifests.refs import DEFAULT_ALIAS
from adapterworks.registry.releases.release import Release
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
    models = _bases(gateway, tenant)
    for ref, updated, digest in await asyncio.to_thread(_adapters, gateway, tenant):
        try:
            release = await gateway.resolver.release(digest)
        except NotFound:  # deleted meanwhile
            continue
        models.append(_adapter(gateway, ref, updated, release))
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
    if release is None:
        model = _base(gateway, name, target.base_digest)
    else:
        model = _adapter(gateway, name, release.created, release)
    return JSONResponse(model, headers=receipt.headers())


def _bases(gateway: Gateway, tenant: Tenant) -> list[dict[str, Any]]:
    bases = {engine.base.name: engine.base for engine in gateway.pool.engines}
    return [
        _base(gateway, name, base.digest)
        for name, base in bases.items()
        if tenant.may_use(BASE_PREFIX + name)
    ]


def _base(gateway: Gateway, name: str, digest: str) -> dict[str, Any]:
    return _model(name, "", None) | {"max_model_len": _context(gateway, digest)}


def _adapter(gateway: Gateway, ref: str, created: str, release: Release) -> dict[str, Any]:
    """An adapter as a model, with its card: what it is for, and how it was measured."""
    card = {
        "digest": release.digest,
        "description": release.description,
        "license": release.license,
        "tags": [*release.tags],
        "method": release.method,
        "metrics": dict(release.metrics),
    }
    return _model(ref, created, release.base.model) | {
        "max_model_len": _context(gateway, release.base.digest),
        "card": card,
    }


def _context(gateway: Gateway, digest: str) -> int | None:
    """The tokens that a prompt and its answer may have together on every engine of a base."""
    found = [e.context for e in gateway.pool.engines if e.base.digest == digest]
    return min(found, default=None)


def _adapters(gateway: Gateway, tenant: Tenant) -> list[tuple[str, str, str]]:
    """(ref, when it changed, digest) of every model that is an adapter."""
    models: list[tuple[str, str, str]] = []
    after: str | None = None
    while page := gateway.registry.names(limit=_PAGE, after=after):
        for row in page:
            if tenant.may_use(row.name):
                models += [(ref, row.updated, digest) for ref, digest in _refs(gateway, row)]
        after = page[-1].name
    return models


def _refs(gateway: Gateway, row: NameRow) -> list[tuple[str, str]]:
    """Refs and digests: the bare name first, then its other aliases; else the newest version."""
    found = []
    for alias in sorted(row.aliases, key=lambda alias: (alias != DEFAULT_ALIAS, alias)):
        holder = max(row.aliases[alias], key=lambda weighted: weighted.weight)
        found.append((row.name if alias == DEFAULT_ALIAS else f"{row.name}:{alias}", holder.digest))
    if row.latest is not None and not row.aliases:
        ref = f"{row.name}@{row.latest}"
        with contextlib.suppress(NotFound):
            found.append((ref, gateway.registry.resolve(ref).digest))
    return found


def _model(name: str, created: str, parent: str | None) -> dict[str, Any]:
    moment = int(datetime.fromisoformat(created).timestamp()) if created else 0
    return {
        "id": name,
        "object": "model",
        "created": moment,
        "owned_by": "adapterworks",
        "parent": parent,
    }
