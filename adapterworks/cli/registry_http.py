"""`adapters registry serve|token|audit`: the registry over HTTP, who may use it, and who did.

Invariant: a token's text is printed once, on stdout, by the command that made it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.amounts import Duration
from adapterworks.cli.values import SEQUENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adapterworks.gateway.tokens.over_http import TokensOverHttp
    from adapterworks.gateway.tokens.tokens import TokenRow, Tokens
    from adapterworks.gateway.tokens.trail import Entry

# As in `gateway/tokens/roles.py`, which a help page does not import.
ROLES = ("reader", "publisher", "promoter", "admin")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_COLUMNS = ("name", "person", "role", "state", "id", "created", "expires")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True)
@click.option("--anonymous", is_flag=True, help="Let anyone read without a token.")
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A gateway.toml, of which [registry.oidc] and [http] count here.",
)
@click.pass_obj
def serve(app: App, host: str, port: int, anonymous: bool, path: Path | None) -> None:
    """Serve this registry over HTTP, without engines.

    Others use it with `ADAPTERS_REGISTRY=URL` and a token in `ADAPTERS_REGISTRY_TOKEN`; they need
    neither the database nor the store. A gateway offers the same under `/v1/registry` with
    `[registry] on = true`. People can log in through an OpenID Connect provider, if
    `[registry.oidc]` of --config names one. If other machines can reach it, put an HTTPS proxy in
    front: tokens travel with every request.

    \b
    Example:
      adapters registry token create alice --role publisher
      adapters registry serve --port 8090
      adapters registry serve --config gateway.toml
    """
    import uvloop

    from adapterworks.gateway.config.load import load_gateway_config
    from adapterworks.gateway.http.routes.registry.desk import open_desk
    from adapterworks.gateway.http.server import run_registry
    from adapterworks.gateway.tokens.roles import Role

    config = load_gateway_config(path, os.environ)
    role, oidc = Role.READER if anonymous else None, config.registry.oidc
    desk = open_desk(app.registry, role, config.http, oidc, app.settings.keys)
    if not anonymous and oidc is None and not desk.tokens.list():
        app.note(
            "there are no tokens yet: every request is refused until one is made with "
            "`adapters registry token create NAME --role reader`"
        )
    uvloop.run(run_registry(desk, host=host, port=port, on_ready=click.echo))


@click.group()
def token() -> None:
    """Make, list and revoke tokens of the registry over HTTP.

    Each role may do all that those before it may: a reader sees and fetches, a publisher publishes,
    tags and signs, a promoter moves aliases, an admin deletes, revokes and manages tokens.

    \b
    Example:
      adapters registry token create alice --role publisher --expires 90d
      adapters registry token list
      adapters registry token revoke alice
    """


@token.command()
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it may do.")
@click.option("--expires", type=Duration(), help="Lifetime, e.g. 90d.")
@click.option("--person", help="The person it is for, if not NAME; a person may have several.")
@click.option("--tenant", is_flag=True, help="NAME is a tenant; its own keys get the role.")
@_as_json
@click.pass_obj
def create(
    app: App,
    name: str,
    role: str,
    expires: int | None,
    person: str | None,
    tenant: bool,
    as_json: bool,
) -> None:
    """Print a new token, which is not shown again.

    The person it is for appears in logs, and cannot approve with one token what they requested with
    another. That is NAME unless `--person` says otherwise. The keys of tenants
    do not reach the registry unless their tenant is given a role with `--tenant`.

    \b
    Example:
      adapters registry token create alice --role publisher --expires 90d
      adapters registry token create alice.ci --person alice --role publisher
      adapters registry token create acme --tenant --role reader
    """
    from adapterworks.gateway.tokens.roles import role_of
    from adapterworks.manifests.errors import InvalidInput

    until = None if expires is None else time.time() + expires
    if tenant:
        if person is not None:
            raise InvalidInput("a tenant's keys are one person", hint="leave out --person")
        if until is not None:
            raise InvalidInput("a tenant's keys expire by themselves", hint="leave out --expires")
        _tokens(app).grant(name, role_of(role), who=app.settings.who)
        if as_json:
            printing.echo_json({"tenant": name, "role": role})
        else:
            click.echo(f"the keys of tenant {printing.harmless(name)} are {role}s now")
        return
    made = _tokens(app).create(
        name, role_of(role), who=app.settings.who, person=person, expires=until
    )
    if as_json:
        shown = {
            "name": name,
            "person": person or name,
            "role": role,
            "expires": printing.moment(until),
        }
        printing.echo_json({**shown, "token": made.text, "id": made.id})
        return
    click.echo(made.text)
    app.note(f"this token of `{name}` is not shown again; its id is {made.id}")


@token.command("list")
@_as_json
@click.pass_obj
def list_(app: App, as_json: bool) -> None:
    """List tokens by name; their secrets are not stored.

    \b
    Example:
      adapters registry token list --json
    """
    rows = [_row(row) for row in _tokens(app).list()]
    if as_json:
        printing.echo_json(rows)
        return
    printing.echo_table(_COLUMNS, ([row[column] or "–" for column in _COLUMNS] for row in rows))


@token.command()
@click.argument("name")
@_as_json
@click.pass_obj
def revoke(app: App, name: str, as_json: bool) -> None:
    """Revoke a token by its name or id, or take back a tenant's role: at once.

    \b
    Example:
      adapters registry token revoke alice
    """
    row = _tokens(app).revoke(name, who=app.settings.who)
    if as_json:
        printing.echo_json(_row(row))
    else:
        click.echo(f"revoked the token {printing.harmless(row.name)} ({row.id})")


@click.command()
@click.option("--after", type=SEQUENCE, default=0, help="Only entries after this number.")
@_as_json
@click.pass_obj
def audit(app: App, after: int, as_json: bool) -> None:
    """Show what was changed over HTTP: who requested what, when, and the outcome.

    With `--json` it is one object a line, oldest first, for whoever keeps such records. What has no
    status was cut off; the registry's own log (`adapters log NAME`) says whether it was done.

    \b
    Example:
      adapters registry audit
      adapters registry audit --json --after 1200
    """
    import dataclasses
    import json

    found = _trail(app, after)
    if as_json:
        for entry in found:
            values = {**dataclasses.asdict(entry), "at": printing.moment(entry.at)}
            click.echo(json.dumps(values, ensure_ascii=False))
        return
    printing.echo_table(
        ("#", "at", "who", "what", "of", "status"),
        (
            (e.sequence, printing.moment(e.at), e.who, e.action, e.subject, e.status or "cut off")
            for e in found
        ),
    )


def _tokens(app: App) -> Tokens | TokensOverHttp:
    """Those of this machine's registry, or of the server that is used."""
    from adapterworks.gateway.tokens.over_http import TokensOverHttp
    from adapterworks.gateway.tokens.tokens import Tokens
    from adapterworks.registry.remotes.http.registry import RemoteRegistry

    registry = app.registry
    if isinstance(registry, RemoteRegistry):
        return TokensOverHttp(registry.link)
    return Tokens(registry.database)


def _trail(app: App, after: int) -> Iterator[Entry]:
    from adapterworks.gateway.storage.migrations import migrate
    from adapterworks.gateway.tokens import over_http, trail
    from adapterworks.registry.remotes.http.registry import RemoteRegistry

    registry = app.registry
    if isinstance(registry, RemoteRegistry):
        return over_http.entries(registry.link, after=after)
    migrate(registry.database)
    return trail.entries(registry.database, after=after)


def _row(row: TokenRow) -> dict[str, Any]:
    return {
        "name": row.name,
        "person": row.person,
        "role": row.role,
        "state": row.state,
        "id": row.id,
        "tenant": row.tenant,
        "created": printing.moment(row.created),
        "expires": printing.moment(row.expires),
        "revoked": printing.moment(row.revoked),
    }
