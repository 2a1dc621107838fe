"""`adapters ps`: what the gateways of this home hold and how it was proved."""

from __future__ import annotations

from typing import Any

import click

from adapterworks.app import App
from adapterworks.cli import printing


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, as_json: bool) -> None:
    """Show engines and resident adapters.

    Read from the private sockets of the gateways that run with this ADAPTERS_HOME.

    \b
    Example:
      adapters ps
      adapters ps --json | jq '.[].engines[].adapters[] | {name, state, proof}'
    """
    from adapterworks.gateways import running_gateways

    gateways = list(running_gateways(app.settings.home).values())
    if as_json:
        printing.echo_json(gateways)
        return
    if not gateways:
        printing.note("no gateway is running in this ADAPTERS_HOME")
        return
    for gateway in gateways:
        _print(gateway)


def _print(gateway: dict[str, Any]) -> None:
    state = "ready" if gateway["ready"] else f"not ready: {gateway['reason']}"
    access = ", open" if gateway["open"] else ""
    click.echo(
        printing.harmless(
            f"gateway http://{gateway['host']}:{gateway['port']}  pid {gateway['pid']}  "
            f"up {_age(gateway['uptime'])}  {state}{access}"
        )
    )
    for engine in gateway["engines"]:
        click.echo(
            printing.harmless(
                f"engine {engine['id']}  {engine['state']} ({engine['reason']})  "
                f"base {engine['base']} {engine['base_digest'][:19]}  "
                f"in flight {engine['inflight']}  started {engine['generation']}×"
            )
        )
        columns = ("adapter", "digest", "form", "state", "proof", "in flight", "age")
        printing.echo_table(columns, map(_cells, engine["adapters"]))


def _cells(adapter: dict[str, Any]) -> tuple[str, ...]:
    pinned = ", pinned" if adapter["pinned"] else ""
    return (
        adapter["name"],
        adapter["digest"][:19],
        f"{adapter['form']} ({adapter['origin']})",
        adapter["state"] + pinned,
        _proof(adapter),
        str(adapter["inflight"]),
        _age(adapter["age"]),
    )


def _proof(adapter: dict[str, Any]) -> str:
    proof = adapter["proof"]
    if adapter["error"]:
        return "; ".join([f"refused: {adapter['error']}", *adapter["findings"]])
    if proof is None:
        return "…"
    if proof["divergence"] is None:
        return f"{proof['state']}: {proof['note']}"
    return (
        f"{proof['state']}: {proof['divergence']:.1e} nats off, base {proof['separation']:.2f}, "
        f"{proof['milliseconds']:.0f} ms"
    )


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
