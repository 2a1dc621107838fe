"""`adapters try`: a few steps of a manifest, and what they change, side by side."""

from __future__ import annotations

import click

from adapterworks.app import App
from adapterworks.cli.completion import complete_manifest


@click.command(name="try")
@click.argument("manifest", shell_complete=complete_manifest)
@click.option("--profile", help="Apply this profile of the manifest.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option("--steps", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--questions", type=click.IntRange(1, 100), default=5, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    manifest: str,
    profile: str | None,
    overrides: tuple[str, ...],
    steps: int,
    questions: int,
    as_json: bool,
) -> None:
    """Train a few steps and compare answers of base and adapter.

    The questions are held out from training. Nothing is published or kept. Twenty steps only hint
    at what a full training would achieve.

    \b
    Example:
      adapters try tickets
      adapters try tickets --steps 60 --questions 10 --set train.learning_rate=5e-4
    """
    from adapterworks.builders.rebuilding.trying import try_out
    from adapterworks.cli.printing import echo_json, echo_table
    from adapterworks.engines.compose import compose_builders_engines
    from adapterworks.manifests.load import load_manifest
    from adapterworks.progress import BuildProgress

    loaded = load_manifest(manifest, profile=profile, overrides=overrides)
    with BuildProgress(quiet=as_json or app.quiet) as progress:
        tried = try_out(
            loaded,
            bases=app.bases,
            registry=app.registry,
            home=app.settings.home,
            steps=steps,
            questions=questions,
            engines=compose_builders_engines(app, say=progress.say),
            listeners=(progress,),
            progress=progress.say,
        )
    if as_json:
        echo_json(tried)
        return
    echo_table(
        ("QUESTION", "WANTED", "BASE", "ADAPTER"),
        [(one.question, one.wanted, one.base, one.adapter) for one in tried.shown],
    )
    first, last = tried.loss
    app.note(
        f"{tried.steps} steps in {tried.seconds:.0f} s, loss {first:.3f} → {last:.3f}; "
        "nothing was published"
    )
