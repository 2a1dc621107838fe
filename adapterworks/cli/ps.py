"""`adapters ps`: what the gateways of this home hold and how it was proved."""

from __future__ import annotations

from typing import Any

import click

from adapterworks.app import App
from adapterworks.cli import printing

_PIPE_COLUMNS = 240


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
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_COLUMNS)  # nothing is cut off or wrapped in a pipe
    for gateway in gateways:
        _print(console, gateway)


def _print(console: Any, gateway: dict[str, Any]) -> None:
    from rich.markup import escape

    state = "ready" if gateway["ready"] else f"not ready: {gateway['reason']}"
    access = ", open" if gateway["open"] else ""
    console.print(
        f"gateway http://{gateway['host']}:{gateway['port']}  pid {gateway['pid']}  "
        f"up {_age(gateway['uptime'])}  {escape(state)}{access}"
    )
    for engine in gateway["engines"]:
        console.print(
            f"engine {engine['id']}  {engine['state']} ({escape(engine['reason'])})  "
            f"base {engine['base']} {engine['base_digest'][:19]}  "
            f"in flight {engine['inflight']}  started {engine['generation']}×"
        )
        console.print(_table(engine))


def _table(engine: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("adapter", "digest", "form", "state", "proof", "in flight", "age", box=None)
    for adapter in engine["adapters"]:
        form = f"{adapter['form']} ({adapter['origin']})"
        pinned = ", pinned" if adapter["pinned"] else ""
        table.add_row(
            adapter["name"],
            adapter["digest"][:19],
            form,
            adapter["state"] + pinned,
            _proof(adapter),
            str(adapter["inflight"]),
            _age(adapter["age"]),
        )
    return table


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
