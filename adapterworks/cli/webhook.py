"""`adapters webhook`: the addresses of `[[webhooks]]`, and what they were told."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing

if TYPE_CHECKING:
    from adapterworks.gateway.webhooks.outbox import Outbox
    from adapterworks.gateway.webhooks.over_http import OutboxOverHttp
    from adapterworks.gateway.webhooks.sending import Address

_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def command() -> None:
    """Send webhooks about jobs, gates and aliases, and see what was sent.

    A gateway with `[[webhooks]]` posts each event, signed, to the configured URLs until it is
    accepted.

    \b
    Example:
      adapters webhook secret
      adapters webhook test ci --config gateway.toml
      adapters webhook list --state dropped
    """


@command.command()
@_as_json
def secret(as_json: bool) -> None:
    """Print a new secret, for the variable that `secret_env` names and for the receiver.

    \b
    Example:
      CI_SECRET=$(adapters webhook secret)
    """
    from adapterworks.gateway.webhooks.signing import new_secret

    if as_json:
        printing.echo_json({"secret": new_secret()})
    else:
        click.echo(new_secret())


@command.command()
@click.argument("name")
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The gateway.toml with the address.",
)
@_as_json
def test(name: str, path: Path, as_json: bool) -> None:
    """Send `webhook.test` to an address now, and report the result.

    Exits with 4 if it was not accepted.

    \b
    Example:
      adapters webhook test ci --config gateway.toml
    """
    import os

    from adapterworks.gateway.config.load import load_gateway_config
    from adapterworks.gateway.webhooks.sending import read_addresses
    from adapterworks.manifests.errors import NotFound, Unavailable

    tables = load_gateway_config(path, os.environ).webhooks
    chosen = [table for table in tables if table.name == name]
    if not chosen:
        known = ", ".join(table.name for table in tables) or "none"
        raise NotFound(f"`{path}` has no webhook `{name}`", hint=f"it has: {known}")
    (address,) = read_addresses(chosen)
    said, taken = asyncio.run(_post(address))
    if not taken:
        raise Unavailable(f"`{name}` did not take it: {said}")
    if as_json:
        printing.echo_json({"address": name, "said": said})
    else:
        click.echo(f"{name} took it: {said}")


async def _post(address: Address) -> tuple[str, bool]:
    import secrets

    import aiohttp

    from adapterworks.gateway.webhooks.events import WebhookEvent
    from adapterworks.gateway.webhooks.sending import TIMEOUT, post

    id = f"evt_test_{secrets.token_hex(8)}"
    body = WebhookEvent(id, "webhook.test", int(time.time()), {}).body()
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        said, code = await post(session, address, id, body)
    return said, code is not None and 200 <= code < 300


@command.command(name="list")
@click.option(
    "--state", type=click.Choice(["due", "sent", "dropped"]), help="Only webhooks in this state."
)
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    default=50,
    show_default=True,
    help="Maximum number of webhooks.",
)
@_as_json
@click.pass_obj
def list_(app: App, state: str | None, limit: int, as_json: bool) -> None:
    """List sent webhooks, newest first; kept for 30 days.

    `due` waits for its next attempt, `dropped` was given up after eight in about 28 hours.

    \b
    Example:
      adapters webhook list
      adapters webhook list --state dropped --json
    """
    found = _outbox(app).list(state=state, limit=limit)
    if as_json:
        printing.echo_json([dataclasses.asdict(one) for one in found])
        return
    printing.echo_table(
        ("made", "address", "event", "type", "state", "tried", "said"),
        ((_time(d.made), d.address, d.event, d.type, d.state, d.tried, d.said) for d in found),
    )


@command.command()
@click.argument("event")
@click.option("--to", "address", help="Only to this address.")
@_as_json
@click.pass_obj
def resend(app: App, event: str, address: str | None, as_json: bool) -> None:
    """Have a gateway send an event again, with the same id.

    \b
    Example:
      adapters webhook resend evt_log_17
      adapters webhook resend evt_ftjob-5f0c --to ci
    """
    count = _outbox(app).resend(event, address)
    if as_json:
        printing.echo_json({"event": event, "addresses": count})
        return
    click.echo(
        f"{printing.harmless(event)} is sent again to {count} address{'es' if count > 1 else ''}"
    )


def _outbox(app: App) -> Outbox | OutboxOverHttp:
    """The deliveries of this registry, or of that of the server that is used."""
    from adapterworks.gateway.storage.migrations import migrate
    from adapterworks.gateway.webhooks.outbox import Outbox
    from adapterworks.gateway.webhooks.over_http import OutboxOverHttp
    from adapterworks.registry.remotes.http.registry import RemoteRegistry

    registry = app.registry
    if isinstance(registry, RemoteRegistry):
        return OutboxOverHttp(registry.link)
    migrate(registry.database)
    return Outbox(registry.database, lambda name, version: {}, time.time)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
