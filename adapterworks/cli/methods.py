"""`adapters methods`: the closed table of fine-tuning methods, with defaults and their sources."""

from __future__ import annotations

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the fine-tuning methods and their defaults.

    \b
    Example:
      adapters methods
      adapters methods --json
    """
    from adapterworks.builders.methods import METHODS
    from adapterworks.cli.printing import echo_json, echo_table

    if as_json:
        echo_json(
            [
                {
                    "kind": technique.kind,
                    "title": technique.title,
                    "source": technique.source,
                    "learning_rate": technique.learning_rate.value,
                    "learning_rate_source": technique.learning_rate.source,
                    "servable_form": technique.form,
                    "exact": not technique.cut,
                }
                for technique in METHODS.values()
            ]
        )
        return
    echo_table(
        ("METHOD", "NAME", "LEARNING RATE", "SERVED AS", "SOURCE"),
        (
            (
                t.kind,
                t.title,
                f"{t.learning_rate.value:g}",
                f"{t.form}, cut by SVD" if t.cut else t.form,
                t.source,
            )
            for t in METHODS.values()
        ),
    )
