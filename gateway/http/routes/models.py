"""`/v1/models`: the bases and adapters that the caller may use, and no others."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.http.routes.common import charge, gateway_of, receipt_of, tenant_of
from adapterworks.gateway.http.routes.pages import number
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.gateway.residency.resolve import missing
from adapterworks.gateway.tenants.patterns import BASE_PREFIX
from adapterworks.gateway.tenants.tenant import Tenant
from adapterworks.manifests.errors import NotFound
from adapterworks.manifests.refs import DEFAULT_ALIAS
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.types import NameRow

_MOST = 1000
# What looking at a name costs, beside showing a model.
_PASSED_OVER = 0.1


def routes() -> list[Route]:
    """The list, and one model by its name."""
    return [
        Route("/v1/models", list_models, methods=["GET"]),
        Route("/v1/models/{model:path}", get_model, methods=["GET"]),
    ]


async def list_models(request: Request) -> Response:
    """Bases first, then adapters by name; each alias is a model.

    At most `limit` of them (1,000 unless it is said, which is the most there are in one answer);
    `after`, the last id of an answer, asks for those that follow it while `has_more`.

    Raises:
        InvalidField: `limit` or `after` is none.
    """
    tenant, gateway = tenant_of(request), gateway_of(request)
    limit = number(request, "limit", _MOST, most=_MOST)
    after = request.query_params.get("after")
    rows = await request.app.state.catalogue.rows()
    bases = _bases(gateway, tenant)
    adapters = await asyncio.to_thread(_adapters, tenant, rows)
    ids = [base["id"] for base in bases] + [ref for ref, _, _ in adapters]
    if after is not None and after not in ids:
        raise InvalidField(f"`after` is no model of yours: `{after[:200]}`", param="after")
    charge(request, len(ids) * _PASSED_OVER)
    begin = 0 if after is None else ids.index(after) + 1
    # Cards are read for what is shown, and no more.
    page = bases[begin : begin + limit]
    skipped = max(0, begin - len(bases))
    for ref, updated, digest in adapters[skipped : skipped + limit - len(page)]:
        try:
            release = await _release(gateway, ref, digest)
        except NotFound:  # deleted meanwhile
            continue
        page.append(_adapter(gateway, ref, updated, release))
    charge(request, len(page))
    answer = {"object": "list", "data": page, "has_more": begin + limit < len(ids)}
    if page:
        answer |= {"first_id": page[0]["id"], "last_id": page[-1]["id"]}
    return JSONResponse(answer, headers=receipt_of(request).headers())


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
    form = release.servable.form if release.servable is not None else ""
    card = {
        "digest": release.digest,
        "description": release.description,
        "license": release.license,
        "tags": [*release.tags],
        "method": release.method,
        "metrics": dict(release.metrics),
    }
    return _model(ref, created, release.base.model) | {
        "max_model_len": _context(gateway, release.base.digest, form),
        "card": card,
    }


def _context(gateway: Gateway, digest: str, form: str | None = None) -> int | None:
    """The tokens that a prompt and its answer may have together on every engine of a base; None
    where none answers.

    Args:
        form: an adapter's, which not every engine can load.
    """
    engines = [e for e in gateway.pool.engines if e.base.digest == digest]
    return min((e.context for e in engines if form is None or form in e.forms), default=None)


def _adapters(tenant: Tenant, rows: list[NameRow]) -> list[tuple[str, str, str | None]]:
    """(ref, when it changed, digest where it is known) of every model that is an adapter."""
    return [
        (ref, row.updated, digest)
        for row in rows
        if tenant.may_use(row.name)
        for ref, digest in _refs(row)
    ]


async def _release(gateway: Gateway, ref: str, digest: str | None) -> Release:
    if digest is None:
        digest = (await asyncio.to_thread(gateway.registry.resolve, ref)).digest
    return await gateway.resolver.release(digest)


def _refs(row: NameRow) -> list[tuple[str, str | None]]:
    """Refs and digests: the bare name first, then its other aliases; else the newest version."""
    found: list[tuple[str, str | None]] = []
    for alias in sorted(row.aliases, key=lambda alias: (alias != DEFAULT_ALIAS, alias)):
        holder = max(row.aliases[alias], key=lambda weighted: weighted.weight)
        found.append((row.name if alias == DEFAULT_ALIAS else f"{row.name}:{alias}", holder.digest))
    if row.latest is not None and not row.aliases:
        found.append((f"{row.name}@{row.latest}", None))
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
