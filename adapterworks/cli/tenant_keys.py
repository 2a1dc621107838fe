"""`adapters tenant key`: more keys of a tenant, and fewer.

Invariant: a key's text is printed once, on stdout, by the command that made it.
"""

from __future__ import annotations

import time

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.amounts import Duration
from adapterworks.cli.printing import echo_table
from adapterworks.cli.tenant_shown import admin as admin_of
from adapterworks.cli.tenant_shown import cells, key_json, print_key

_LONGEST_ID = 16  # a key's text, which may be given too, is longer and is not repeated
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def key() -> None:
    """Add, list and revoke keys.

    \b
    Example:
      adapters tenant key add acme --expires 90d
      adapters tenant key revoke k3yid234
    """


@key.command("add")
@click.argument("name")
@click.option("--expires", type=Duration(), help="Lifetime, e.g. 90d.")
@_as_json
@click.pass_obj
def key_add(app: App, name: str, expires: int | None, as_json: bool) -> None:
    """Print a further key of a tenant, which is not shown again.

    \b
    Example:
      adapters tenant key add acme --expires 90d
    """
    admin = admin_of(app)
    until = None if expires is None else time.time() + expires
    new = admin.add_key(name, expires=until)
    print_key(admin.show(name)[0], new, as_json=as_json, expires=until)


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
    rows = [key_json(row) for row in admin_of(app).show(name)[1]]
    if as_json:
        printing.echo_json(rows)
        return
    columns = ("id", "state", "created", "expires", "revoked")
    echo_table(columns, [cells(row, columns) for row in rows])


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
    admin_of(app).revoke_key(key)
    shown = "key" if len(key) > _LONGEST_ID else f"key {printing.harmless(key)}"
    if as_json:
        printing.echo_json({"revoked": None if shown == "key" else key})
    else:
        click.echo(f"revoked {shown}; it stops working within a second")
