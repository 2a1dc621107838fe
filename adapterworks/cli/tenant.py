"""`adapters tenant`: who may call the gateway, with which keys, and how much.

Invariant: a key's text is printed once, on stdout, by the command that made it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.amounts import Amount, Duration, ShareOrConsent
from adapterworks.cli.confirming import confirm
from adapterworks.cli.printing import echo_table
from adapterworks.cli.tenant_keys import key
from adapterworks.cli.tenant_shown import (
    LIMITS,
    cells,
    key_json,
    print_key,
    tenant_json,
)
from adapterworks.cli.tenant_shown import admin as admin_of
from adapterworks.cli.values import SEQUENCE

if TYPE_CHECKING:
    pass

Function = TypeVar("Function", bound=Callable[..., Any])


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
        ("--monthly-tokens", "Tokens per calendar month (UTC): 50M."),
        ("--max-concurrency", "Requests in flight."),
        ("--tpm", "Prompt and completion tokens per minute."),
        ("--rpm", "Requests per minute."),
    ):
        function = click.option(name, type=Amount(), help=text)(function)
    # As it was called before; elsewhere `--weight` is a canary's percentage.
    return click.option("--weight", type=click.FLOAT, hidden=True)(function)


_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@command.command()
@click.argument("name")
@click.option("--allow", required=True, help="Adapters it may use: 'medical,enterprise-*,base:*'.")
@_limits
@click.option("--share", type=click.FLOAT, help="Share of a busy engine relative to others (1).")
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
    tenant, key = admin_of(app).add(name, allow=parse_allow(allow), limits=given, weight=of_engine)
    print_key(tenant, key, as_json=as_json, expires=None)


@command.command("list")
@_as_json
@click.pass_obj
def list_(app: App, as_json: bool) -> None:
    """List tenants with what they may use and their limits.

    \b
    Example:
      adapters tenant list --json
    """
    tenants = admin_of(app).list()
    if as_json:
        printing.echo_json([tenant_json(tenant) for tenant in tenants])
        return
    columns = ("name", "allow", *LIMITS, "weight")
    echo_table(columns, [cells(tenant_json(tenant), columns) for tenant in tenants])


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
    tenant, keys = admin_of(app).show(name)
    values = {**tenant_json(tenant), "keys": [key_json(key) for key in keys]}
    if as_json:
        printing.echo_json(values)
        return
    for field in ("name", "id", "allow", *LIMITS, "weight", "capture"):
        click.echo(f"{field:<16} {cells(values, (field,))[0]}")
    click.echo()
    columns = ("id", "state", "created", "expires", "revoked")
    echo_table(columns, [cells(key_json(key), columns) for key in keys])


@command.command("set")
@click.argument("name")
@click.option("--allow", help="Adapters it may use; replaces the whole list.")
@_limits
@click.option(
    "--share",
    type=ShareOrConsent(),
    help="Share of a busy engine (a number), or who may train on captured answers.",
)
@click.option(
    "--capture",
    metavar="ADAPTERS",
    help="Capture answers of these adapters: 'medical,enterprise-*'; `none` stops.",
)
@click.option("--retain", type=Duration(), help="How long captured answers are kept (30d).")
@click.option("--sample", type=click.FLOAT, help="Fraction of answers to capture (1).")
@click.option(
    "--on-personal",
    type=click.Choice(["redact", "drop"]),
    help="Remove personal data and secrets (redact), or discard the answer (drop).",
)
@_as_json
@click.pass_obj
def set_(
    app: App,
    /,
    name: str,
    allow: str | None,
    share: float | str | None,
    capture: str | None,
    retain: int | None,
    sample: float | None,
    on_personal: str | None,
    as_json: bool,
    **values: float | None,
) -> None:
    """Change what a tenant may use, its limits, and what may be kept of its traffic.

    `none` goes back to the gateway's default. Nothing is captured without --capture; its other
    settings (--retain, --share, --sample, --on-personal) stay until they are set again. A shorter
    --retain also applies to what was captured before.

    \b
    Example:
      adapters tenant set acme --rpm 1200 --monthly-tokens none
      adapters tenant set acme --capture medical --retain 30d --share own --sample 0.1
    """
    from adapterworks.gateway.tenants.consent import consented
    from adapterworks.gateway.tenants.tenant import parse_allow

    if isinstance(share, float):
        values["weight"] = share
    changes: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    changes |= {key: None for key in LIMITS if changes.get(key) == 0}
    if allow is not None:
        changes["allow"] = parse_allow(allow)
    of_capture = {
        "adapters": None if capture in (None, "none") else parse_allow(capture),
        "retain": retain,
        "share": share if isinstance(share, str) else None,
        "sample": sample,
        "on_personal": on_personal,
    }
    said = {key: value for key, value in of_capture.items() if value is not None}
    admin = admin_of(app)
    if capture is not None or said:
        before = admin.show(name)[0].consent
        changes["capture"] = consented(before, said, off=capture == "none")
    tenant = admin.set(name, changes)
    if retain is not None and tenant.consent is not None:
        app.exchanges.shorten(tenant.id, tenant.consent.retain)
    if as_json:
        printing.echo_json(tenant_json(tenant))
        return
    click.echo(f"changed {', '.join(changes) or 'nothing'} of tenant {tenant.name}")
    if capture == "none":
        printing.note(
            f"what was captured stays until it expires; `adapters erase tenant:{name}` erases it"
        )


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
    confirm(f"Remove tenant `{name}` and all its keys?", yes=yes, what="removed", as_json=as_json)
    admin_of(app).remove(name)
    if as_json:
        printing.echo_json({"removed": name})
    else:
        click.echo(f"removed tenant {printing.harmless(name)} and its keys")


@command.command()
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--after", type=SEQUENCE, help="Next page: the value after `more:`.")
@_as_json
@click.pass_obj
def log(app: App, name: str | None, limit: int, after: int | None, as_json: bool) -> None:
    """Show who changed what, newest first.

    \b
    Example:
      adapters tenant log acme --json
    """
    rows = [
        {
            "sequence": entry.sequence,
            "at": printing.moment(entry.at),
            "who": entry.who,
            "action": entry.action,
            "tenant": entry.tenant,
            "details": entry.details,
        }
        for entry in admin_of(app).log(tenant=name, limit=limit, before=after)
    ]
    if as_json:
        printing.echo_json(rows)
    else:
        columns = ("at", "who", "action", "tenant", "details")
        echo_table(columns, [cells(row, columns) for row in rows])
    if len(rows) == limit:
        printing.echo_more(rows[-1]["sequence"])


command.add_command(key)
