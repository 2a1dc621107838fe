"""`adapters compare`: an A/B of strategies on one task, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_manifest
from adapterworks.cli.values import DRAWN, WrittenFile

if TYPE_CHECKING:
    from adapterworks.builders.comparing.compare import Compared


@click.command()
@click.option("--methods", required=True, metavar="A,B,…", help="Methods, comma-separated.")
@click.option(
    "--manifest",
    required=True,
    metavar="MANIFEST",
    help="The manifest of the task.",
    shell_complete=complete_manifest,
)
@click.option("--profile", help="Apply this profile of the manifest.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option("--metric", help="The score; by default the metric of the manifest's first gate.")
@click.option(
    "--one-base", is_flag=True, help="Use the manifest's base quantization for every method."
)
@click.option(
    "--equal-parameters",
    is_flag=True,
    help="Choose ranks and virtual tokens so that each trains as many parameters as the manifest's "
    "method, as nearly as it can.",
)
@click.option(
    "--plot",
    type=WrittenFile(makes=True, suffixes=DRAWN),
    help="Plot scores with intervals to this file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    methods: str,
    manifest: str,
    profile: str | None,
    overrides: tuple[str, ...],
    metric: str | None,
    one_base: bool,
    equal_parameters: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Train one task with several methods and compare them.

    Each method is built and published as NAME-METHOD under the alias `compare`; a method whose
    plan is unchanged is not trained again.

    \b
    Example:
      adapters compare --methods lora,qlora,prompt-tuning --manifest medical --profile quick
    """
    from adapterworks.builders.comparing.compare import compare_methods, draw_comparison
    from adapterworks.builders.data.gather import gather
    from adapterworks.builders.methods.shape import read_shape
    from adapterworks.cli.apply import builder
    from adapterworks.cli.printing import echo_json
    from adapterworks.manifests.load import load_manifest
    from adapterworks.manifests.paths import base_model

    loaded = load_manifest(manifest, profile=profile, overrides=overrides)

    if equal_parameters and app.bases.prepared(base_model(loaded)) is None:
        # Rows that cannot be read are refused before a base is prepared to count parameters by.
        gather(loaded, cache=app.settings.home / "cache", registry=app.registry)
    kinds = [kind.strip() for kind in methods.split(",") if kind.strip()]
    rows = compare_methods(
        loaded,
        kinds,
        builder(app, quiet=as_json),
        metric=metric,
        one_base=one_base,
        equal_on=read_shape(app.bases.ensure(base_model(loaded)).checkpoint)
        if equal_parameters
        else None,
    )
    if as_json:
        echo_json([row.to_json() for row in rows])
    else:
        _show(rows)
    if plot is not None:
        draw_comparison(rows, plot)
        printing.note(f"drawn: {plot}")


def _show(rows: list[Compared]) -> None:
    from adapterworks.cli.printing import echo_table

    columns = (
        "METHOD",
        "TRAINED",
        "TOKENS/S",
        "PEAK MiB (PREDICTED)",
        rows[0].metric.upper(),
        "GAIN OVER BASE",
        "PROSE PERPLEXITY",
        "SERVED AS",
    )
    echo_table(columns, (_cells(row) for row in rows))
    click.echo(f"base: {rows[0].metric} {rows[0].base_score:.3f}")
    for row in rows:
        if not row.learnt:
            click.echo(f"{row.method}: no gain shown within this budget")


def _cells(row: Compared) -> tuple[str, ...]:
    low, high = row.interval
    score = f"{row.score:.3f} [{low:.3f}, {high:.3f}]"
    if row.native_score is not None:
        score += f", unconverted {row.native_score:.3f}"
    gain, gain_low, gain_high = row.gain
    kept = row.perplexity_increase
    served = row.servable
    if row.conversion_error:
        served += f", error {row.conversion_error:.2f}"
    return (
        row.method,
        f"{row.trainable_share:.3%}",
        f"{row.tokens_per_second:.0f}",
        f"{row.memory_measured / 2**20:.0f} ({row.memory_predicted / 2**20:.0f})",
        score,
        f"{gain:+.3f} [{gain_low:+.3f}, {gain_high:+.3f}]",
        "" if kept is None else f"{kept:+.1%}",
        served,
    )
