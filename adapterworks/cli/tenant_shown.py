"""How tenants and keys are shown; what the files of `adapters tenant` share."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import printing

if TYPE_CHECKING:
    from adapterworks.gateway.tenants.admin import KeyRow, TenantAdmin
    from adapterworks.gateway.tenants.keys import NewKey
    from adapterworks.gateway.tenants.over_http import TenantsOverHttp
    from adapterworks.gateway.tenants.tenant import Tenant

LIMITS = ("rpm", "tpm", "max_concurrency", "monthly_tokens")


def admin(app: App) -> TenantAdmin | TenantsOverHttp:
    """What changes tenants: here as this user, or on the registry's server that is used."""
    from adapterworks.gateway.tenants.admin import TenantAdmin
    from adapterworks.gateway.tenants.over_http import TenantsOverHttp
    from adapterworks.registry.remotes.http.registry import RemoteRegistry

    registry = app.registry
    if isinstance(registry, RemoteRegistry):
        return TenantsOverHttp(registry.link)
    return TenantAdmin(registry.database, who=app.settings.who)


def print_key(tenant: Tenant, key: NewKey, *, as_json: bool, expires: float | None) -> None:
    """A key that was just made; its text is on stdout alone."""
    if as_json:
        values = {"key": key.text, "key_id": key.id, "expires": printing.moment(expires)}
        printing.echo_json({**tenant_json(tenant), **values})
        return
    click.echo(key.text)
    printing.note(f"this key of `{tenant.name}` is not shown again; its id is {key.id}")


def tenant_json(tenant: Tenant) -> dict[str, Any]:
    """A tenant as JSON has it."""
    limits = {name: getattr(tenant.limits, name) for name in LIMITS}
    identity = {"name": tenant.name, "id": tenant.id, "allow": list(tenant.allow)}
    kept = None if tenant.consent is None else json.loads(tenant.consent.to_json())
    return {**identity, **limits, "weight": tenant.weight, "capture": kept}


def key_json(row: KeyRow) -> dict[str, Any]:
    """A key as JSON has it."""
    times = {"created": row.created, "expires": row.expires, "revoked": row.revoked}
    return {
        "id": row.id,
        "state": row.state,
        **{name: printing.moment(at) for name, at in times.items()},
    }


def cells(values: dict[str, Any], columns: tuple[str, ...]) -> list[str]:
    """The cells of a row."""
    cells = []
    for column in columns:
        value = values[column]
        if isinstance(value, list):
            value = ",".join(value)
        elif isinstance(value, dict):
            value = json.dumps(value, ensure_ascii=False)
        cells.append("-" if value is None else str(value))
    return cells
