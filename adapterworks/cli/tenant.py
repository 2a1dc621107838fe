"""`adapters tenant`: who may call the gateway, with which keys, and how much.

Invariant: a key's text is printed once, on stdout, by the command that made it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.amounts import Amount, Duration
from adapterworks.cli.printing import echo_table
from adapterworks.cli.registry import agree

if TYPE_CHECKING:
    from adapterworks.gateway.tenants.admin import KeyRow, TenantAdmin
    from adapterworks.gateway.tenants.keys import NewKey
    from adapterworks.gateway.tenants.tenant import Tenant

Function = TypeVar("Function", bound=Callable[..., Any])
_LONGEST_ID = 16  # a key's text, which may be given too, is longer and is not repeated
LIMITS = ("rpm", "tpm", "max_concurrency", "monthly_tokens")


@click.group()
def command() -> None:
    """Manage tenants, their keys and limits.

    Running gateways see a change within a second.

    \b
    Example:
      adapters tenant add acme --allow 'medical,enterprise-*' --rpm 600 --monthly-tokens 50M
      adapters tenant key add acme --expires 90d
      adapters tenant log
    """


def _limits(function: Function) -> Function:
    for name, text in (
        ("--share", "Share of a busy engine relative to others (1)."),
        ("--monthly-tokens", "Tokens per calendar month (UTC): 50M."),
        ("--max-concurrency", "Requests in flight."),
        ("--tpm", "Prompt and completion tokens per minute."),
        ("--rpm", "Requests per minute."),
    ):
        kind: click.ParamType[Any] = click.FLOAT if name == "--share" else Amount()
        function = click.option(name, type=kind, help=text)(function)
    # As it was called before; elsewhere `--weight` is a canary's percentage.
    return click.option("--weight", type=click.FLOAT, hidden=True)(function)


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@command.command()
@click.argument("name")
@click.option("--allow", required=True, help="Adapters it may use: 'medical,enterprise-*,base:*'.")
@_limits
@_as_json
@click.pass_obj
def add(
    app: App,
    /,
    name: str,
    allow: str,
    share: float | None,
    weight: float | None,
    as_json: bool,
    **limits: int | None,
) -> None:
    """Add a tenant and print its first key, which is not shown again.

    A limit that is not given is the gateway's default ([limits] in gateway.toml).

    \b
    Example:
      adapters tenant add acme --allow 'medical,enterprise-*' --rpm 600 --tpm 100k \\
        --max-concurrency 16 --monthly-tokens 50M
    """
    from adapterworks.gateway.tenants.tenant import Limits, parse_allow

    given = Limits(**{limit: value or None for limit, value in limits.items()})
    of_engine = next((given for given in (share, weight) if given is not None), 1.0)
    tenant, key = _admin(app).add(name, allow=parse_allow(allow), limits=given, weight=of_engine)
    _print_key(tenant, key, as_json=as_json, expires=None)


@command.command("list")
@_as_json
@click.pass_obj
def list_(app: App, as_json: bool) -> None:
    """List tenants with what they may use and their limits.

    \b
    Example:
      adapters tenant list --json
    """
    tenants = _admin(app).list()
    if as_json:
        printing.echo_json([_tenant_json(tenant) for tenant in tenants])
        return
    columns = ("name", "allow", *LIMITS, "weight")
    echo_table(columns, [_cells(_tenant_json(tenant), columns) for tenant in tenants])


@command.command()
@click.argument("name")
@_as_json
@click.pass_obj
def show(app: App, name: str, as_json: bool) -> None:
    """Show a tenant and its keys.

    \b
    Example:
      adapters tenant show acme
    """
    tenant, keys = _admin(app).show(name)
    values = {**_tenant_json(tenant), "keys": [_key_json(key) for key in keys]}
    if as_json:
        printing.echo_json(values)
        return
    for field in ("name", "id", "allow", *LIMITS, "weight"):
        click.echo(f"{field:<16} {_cells(values, (field,))[0]}")
    click.echo()
    columns = ("id", "state", "created", "expires", "revoked")
    echo_table(columns, [_cells(_key_json(key), columns) for key in keys])


@command.command("set")
@click.argument("name")
@click.option("--allow", help="Adapters it may use, all of them anew.")
@_limits
@_as_json
@click.pass_obj
def set_(
    app: App,
    /,
    name: str,
    allow: str | None,
    share: float | None,
    as_json: bool,
    **values: float | None,
) -> None:
    """Change what a tenant may use or its limits; `none` goes back to the gateway's default.

    \b
    Example:
      adapters tenant set acme --rpm 1200 --monthly-tokens none
    """
    from adapterworks.gateway.tenants.tenant import parse_allow

    if share is not None:
        values["weight"] = share
    changes: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    changes |= {key: None for key in LIMITS if changes.get(key) == 0}
    if allow is not None:
        changes["allow"] = parse_allow(allow)
    tenant = _admin(app).set(name, changes)
    if as_json:
        printing.echo_json(_tenant_json(tenant))
    else:
        click.echo(f"changed {', '.join(changes) or 'nothing'} of tenant {tenant.name}")


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask; scripts need it.")
@_as_json
@click.pass_obj
def remove(app: App, name: str, yes: bool, as_json: bool) -> None:
    """Remove a tenant: its keys stop working within a second; its usage stays.

    \b
    Example:
      adapters tenant remove acme --yes
    """
    agree(f"Remove tenant `{name}` and all its keys?", yes=yes, what="removed")
    _admin(app).remove(name)
    if as_json:
        printing.echo_json({"removed": name})
    else:
        click.echo(f"removed tenant {printing.harmless(name)} and its keys")


@command.command()
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--after", type=int, help="The next page: what `more:` said.")
@_as_json
@click.pass_obj
def log(app: App, name: str | None, limit: int, after: int | None, as_json: bool) -> None:
    """Show who changed what, newest first.

    \b
    Example:
      adapters tenant log acme --json
    """
    from adapterworks.gateway.storage.schema import migrate
    from adapterworks.gateway.tenants import audit

    migrate(app.registry.database)
    rows = [
        {
            "sequence": entry.sequence,
            "at": _time(entry.at),
            "who": entry.who,
            "action": entry.action,
            "tenant": entry.tenant,
            "details": entry.details,
        }
        for entry in audit.entries(app.registry.database, tenant=name, limit=limit, before=after)
    ]
    if as_json:
        printing.echo_json(rows)
    else:
        columns = ("at", "who", "action", "tenant", "details")
        echo_table(columns, [_cells(row, columns) for row in rows])
    if len(rows) == limit:
        of = "" if name is None else f" {name}"
        printing.echo_more(f"adapters tenant log{of} --after {rows[-1]['sequence']}")


@command.group()
def key() -> None:
    """Add, list and revoke keys.

    \b
    Example:
      adapters tenant key add acme --expires 90d
      adapters tenant key revoke k3yid234
    """


@key.command("add")
@click.argument("name")
@click.option("--expires", type=Duration(), help="Time it works for: 90d.")
@_as_json
@click.pass_obj
def key_add(app: App, name: str, expires: int | None, as_json: bool) -> None:
    """Print a further key of a tenant, which is not shown again.

    \b
    Example:
      adapters tenant key add acme --expires 90d
    """
    admin = _admin(app)
    until = None if expires is None else time.time() + expires
    new = admin.add_key(name, expires=until)
    _print_key(admin.show(name)[0], new, as_json=as_json, expires=until)


@key.command("list")
@click.argument("name")
@_as_json
@click.pass_obj
def key_list(app: App, name: str, as_json: bool) -> None:
    """List a tenant's keys by their ids.

    \b
    Example:
      adapters tenant key list acme
    """
    rows = [_key_json(row) for row in _admin(app).show(name)[1]]
    if as_json:
        printing.echo_json(rows)
        return
    columns = ("id", "state", "created", "expires", "revoked")
    echo_table(columns, [_cells(row, columns) for row in rows])


@key.command("revoke")
@click.argument("key", metavar="ID")
@_as_json
@click.pass_obj
def key_revoke(app: App, key: str, as_json: bool) -> None:
    """Revoke a key by its id (or its text); it stops working within a second.

    \b
    Example:
      adapters tenant key revoke k3yid234
    """
    _admin(app).revoke_key(key)
    shown = "key" if len(key) > _LONGEST_ID else f"key {printing.harmless(key)}"
    if as_json:
        printing.echo_json({"revoked": None if shown == "key" else key})
    else:
        click.echo(f"revoked {shown}; it stops working within a second")


def _admin(app: App) -> TenantAdmin:
    from adapterworks.gateway.tenants.admin import TenantAdmin

    return TenantAdmin(app.registry.database, who=app.settings.who)


def _print_key(tenant: Tenant, key: NewKey, *, as_json: bool, expires: float | None) -> None:
    if as_json:
        values = {"key": key.text, "key_id": key.id, "expires": _time(expires)}
        printing.echo_json({**_tenant_json(tenant), **values})
        return
    click.echo(key.text)
    click.echo(f"this key of `{tenant.name}` is not shown again; its id is {key.id}", err=True)


def _tenant_json(tenant: Tenant) -> dict[str, Any]:
    limits = {name: getattr(tenant.limits, name) for name in LIMITS}
    identity = {"name": tenant.name, "id": tenant.id, "allow": list(tenant.allow)}
    return {**identity, **limits, "weight": tenant.weight}


def _key_json(row: KeyRow) -> dict[str, Any]:
    times = {"created": row.created, "expires": row.expires, "revoked": row.revoked}
    return {"id": row.id, "state": row.state, **{name: _time(at) for name, at in times.items()}}


def _time(at: float | None) -> str | None:
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _cells(values: dict[str, Any], columns: tuple[str, ...]) -> list[str]:
    cells = []
    for column in columns:
        value = values[column]
        if isinstance(value, list):
            value = ",".join(value)
        elif isinstance(value, dict):
            value = json.dumps(value, ensure_ascii=False)
        cells.append("-" if value is None else str(value))
    return cells
