"""`adapters metrics`: the metrics a manifest can name."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the metrics a manifest can name.

    \b
    Example:
      adapters metrics
      adapters metrics --json
    """
    from adapterworks.builders.evaluation.metrics import METRICS

    if as_json:
        entries = [
            {
                "name": metric.name,
                "unit": metric.unit,
                "higher_is_better": metric.higher_is_better,
                "binary": metric.binary,
                "needs": metric.needs,
                "description": metric.description,
            }
            for metric in METRICS.values()
        ]
        click.echo(json.dumps(entries, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "unit", "better", "description", box=None)
    for metric in METRICS.values():
        better = "higher" if metric.higher_is_better else "lower"
        table.add_row(metric.name, metric.unit, better, metric.description)
    Console().print(table)
