"""`adapters usage`: what metering has counted."""

from __future__ import annotations

import csv
import io
from typing import Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.printing import echo_table


@click.command()
@click.option("--tenant", help="Only this tenant.")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(["day", "month", "tenant", "release", "ref"]),
    default=("day",),
    help="Group by this; repeat for combinations (default: day).",
)
@click.option("--since", metavar="DAY", help="First day, 2026-11-01 (UTC).")
@click.option("--until", metavar="DAY", help="Last day (inclusive).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.pass_obj
def command(
    app: App,
    tenant: str | None,
    by: tuple[Any, ...],
    since: str | None,
    until: str | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Report metered tokens per tenant, adapter and day.

    A gateway's last answers are counted within a second.

    \b
    Example:
      adapters usage --tenant acme --by day --since 2026-11-01 --json
      adapters usage --by tenant --by release --csv
    """
    from adapterworks.gateway.metering.usage import SUMS

    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    groups = tuple(dict.fromkeys(by))
    rows = _rows(app, groups, tenant=tenant, since=since, until=until)
    columns = (*groups, *SUMS, "total_tokens")
    if as_json:
        printing.echo_json(rows)
    elif as_csv:
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        click.echo(text.getvalue(), nl=False)
    else:
        cells = [[str(row[column]) for column in columns] for row in rows]
        echo_table(columns, cells)


def _rows(app: App, groups: tuple[Any, ...], **which: str | None) -> list[dict[str, Any]]:
    """What was counted in this registry, or in that of the server that is used."""
    from adapterworks.registry.remotes.http.registry import RemoteRegistry

    registry = app.registry
    if isinstance(registry, RemoteRegistry):
        told = registry.link.get("/usage", dict[str, Any], by=",".join(groups), **which)
        return list(told["data"])
    from adapterworks.gateway.metering.usage import usage

    return [row.to_json() for row in usage(registry.database, by=groups, **which)]
