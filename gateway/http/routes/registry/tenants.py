"""Tenants, their limits and keys, for administrators; what `adapters tenant` does, over HTTP.

Invariants: a key's text is in the answer of the request that made it and nowhere else, also not in
a path: a key is revoked by its id; who did it, in the tenants' own log, is the person of the token.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from adapterworks.gateway.http.routes.pages import number
from adapterworks.gateway.http.routes.registry import bodies
from adapterworks.gateway.http.routes.registry.desk import Asked
from adapterworks.gateway.http.routes.registry.reading import MOST, USUAL
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.gateway.tenants.admin import LIMIT_NAMES, KeyRow, TenantAdmin
from adapterworks.gateway.tenants.keys import NewKey
from adapterworks.gateway.tenants.tenant import Limits, Tenant

_LONGEST_NUMBER = 15


def listed(asked: Asked) -> dict[str, Any]:
    """A page of the tenants, by name."""
    limit, after = number(asked.request, "limit", USUAL, most=MOST), asked.query("after") or ""
    # In one order, whatever the database's collation is: that of `>`.
    tenants = sorted(_admin(asked).list(), key=lambda tenant: tenant.name)
    found = [tenant for tenant in tenants if tenant.name > after]
    return _page([_shown(tenant) for tenant in found[:limit]], "name", len(found) > limit)


def one(asked: Asked) -> dict[str, Any]:
    """A tenant with its keys, which are there by their ids."""
    tenant, keys = _admin(asked).show(asked.path("tenant"))
    return {**_shown(tenant), "keys": [_key(row) for row in keys]}


def add(asked: Asked, body: bodies.NewTenant) -> dict[str, Any]:
    """A tenant, with its first key."""
    limits = Limits(**{name: getattr(body, name) for name in LIMIT_NAMES})
    tenant, made = _admin(asked).add(body.name, allow=body.allow, limits=limits, weight=body.weight)
    return {**_shown(tenant), **_made(made, None)}


def change(asked: Asked, body: bodies.TenantChange) -> dict[str, Any]:
    """What a tenant may use, its share and limits; what is not said stays, null lifts a limit."""
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    return _shown(_admin(asked).set(asked.path("tenant"), changes))


def remove(asked: Asked, body: bodies.Nothing) -> dict[str, Any]:
    """Its keys stop working; its usage stays."""
    name = asked.path("tenant")
    _admin(asked).remove(name)
    return {"object": "tenant.removed", "name": name}


def add_key(asked: Asked, body: bodies.NewKey) -> dict[str, Any]:
    """A further key."""
    expires = None if body.seconds is None else time.time() + body.seconds
    made = _admin(asked).add_key(asked.path("tenant"), expires=expires)
    return {"object": "tenant.key", **_made(made, expires)}


def revoke_key(asked: Asked, body: bodies.Nothing) -> dict[str, Any]:
    """A key stops working."""
    return _key(_admin(asked).revoke_key(asked.path("key")))


def log(asked: Asked) -> dict[str, Any]:
    """A page of who changed what of which tenant, the newest first."""
    limit, text = number(asked.request, "limit", USUAL, most=MOST), asked.query("after")
    if text is not None and not (
        text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER
    ):
        raise InvalidField("`after` is not a number", param="after")
    rows = _admin(asked).log(
        tenant=asked.query("tenant"),
        limit=limit + 1,
        before=None if text is None else int(text),
    )
    data = [{"id": str(row.sequence), **dataclasses.asdict(row)} for row in rows[:limit]]
    return _page(data, "id", len(rows) > limit)


def _admin(asked: Asked) -> TenantAdmin:
    return TenantAdmin(asked.registry.database, who=asked.caller.person)


def _shown(tenant: Tenant) -> dict[str, Any]:
    """A tenant without its salt."""
    return {
        "object": "tenant",
        "name": tenant.name,
        "id": tenant.id,
        "allow": list(tenant.allow),
        **dataclasses.asdict(tenant.limits),
        "weight": tenant.weight,
        "capture": None if tenant.consent is None else dataclasses.asdict(tenant.consent),
    }


def _key(row: KeyRow) -> dict[str, Any]:
    return {"object": "tenant.key", **dataclasses.asdict(row), "state": row.state}


def _made(key: NewKey, expires: float | None) -> dict[str, Any]:
    return {"key": key.text, "key_id": key.id, "expires": expires}


def _page(data: list[dict[str, Any]], identity: str, more: bool) -> dict[str, Any]:
    return {
        "object": "list",
        "data": data,
        "first_id": data[0][identity] if data else None,
        "last_id": data[-1][identity] if data else None,
        "has_more": more,
    }
