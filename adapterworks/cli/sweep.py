"""`adapters sweep`: one task with many settings, and which of them holds up."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_manifest
from adapterworks.cli.option_rules import refuse_unless
from adapterworks.cli.values import COUNT, SEED
from adapterworks.manifests.errors import Conflict, InvalidInput, NotFound, Refused, Unavailable
from adapterworks.manifests.graders import graded

if TYPE_CHECKING:
    from adapterworks.builders.sweeping.sweep import Build, Built, Tried
    from adapterworks.builders.training.events import Event, Listener
    from adapterworks.manifests.models import Manifest
    from adapterworks.workers.executors.executor import Resources

_TRIALS = 8
TRIAL = "trial"
"""The label of a job that says which trial of which sweep it is."""


@click.command()
@click.argument("manifest", shell_complete=complete_manifest)
@click.option(
    "--over",
    "dimensions",
    multiple=True,
    metavar="KEY=VALUES",
    help="What to vary: `method.rank=8,16,32`, or a range, `train.learning_rate=1e-5..1e-3`. "
    "Repeatable.",
)
@click.option(
    "--trials", type=click.IntRange(1, 1000), help="Settings to try (default: 8, or all if fewer)."
)
@click.option("--profile", help="Apply this profile of the manifest.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option("--metric", help="The score; by default the metric of the manifest's first gate.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed for drawing settings.")
@click.option("--no-halving", is_flag=True, help="Do not stop trials early.")
@click.option("--on", metavar="PLACE", help="Run trials there: `slurm:PARTITION`, `local`.")
@click.option(
    "--parallel", type=click.IntRange(1, 64), default=1, show_default=True,
    help="With --on: trials at once.",
)  # fmt: skip
@click.option("--gpus", type=COUNT, help="With --on: GPUs of the node.")
@click.option("--memory", metavar="SIZE", help="With --on: memory, e.g. `16GB`.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    manifest: str,
    dimensions: tuple[str, ...],
    trials: int | None,
    profile: str | None,
    overrides: tuple[str, ...],
    metric: str | None,
    seed: int,
    no_halving: bool,
    on: str | None,
    parallel: int,
    gpus: int | None,
    memory: str | None,
    as_json: bool,
) -> None:
    """Train one task with many settings and find the best that holds up.

    Each trial is a version of NAME-sweep. What to try next, and which trials to stop early, is
    decided on the validation rows. The gates use the test rows, with intervals widened for the
    number of trials, so that the best of many does not pass by chance. The winner gets the alias
    `best`. If a sweep is killed, run it again to resume.

    Exit code 6 if no trial passed its gates.

    \b
    Example:
      adapters sweep medical --profile quick --over train.learning_rate=1e-4..2e-3 --trials 8
      adapters sweep kb.toml --over method.rank=4,8,16 --on slurm:gpu --parallel 4
    """
    from adapterworks.builders.comparing.compare import deciding_metric
    from adapterworks.builders.sweeping.space import parse_space, size
    from adapterworks.builders.sweeping.sweep import Sweep, check, winner
    from adapterworks.builders.sweeping.trials import run_sweep
    from adapterworks.cli.build_on import resources
    from adapterworks.manifests.document import as_named_elsewhere
    from adapterworks.manifests.load import load_manifest

    refuse_unless(on is not None, ("parallel", "gpus", "memory"), "trials elsewhere: --on")
    space = parse_space(dimensions)
    if trials is None:
        trials = int(min(_TRIALS, size(space)))
    if trials > size(space):
        raise InvalidInput(
            f"there are {size(space):.0f} different settings, and {trials} trials are asked for",
            hint=f"--trials {size(space):.0f}",
        )

    def load(more: Sequence[str]) -> Manifest:
        return load_manifest(manifest, profile=profile, overrides=(*overrides, *more))

    plain = load(())
    sweep = Sweep(
        plain.adapter.name,
        load,
        space,
        trials,
        metric or deciding_metric(plain),
        seed,
        halve=not no_halving,
    )
    check(sweep)  # before rows are read, which may take a while
    sweep = replace(sweep, rows=_digest_of_rows(app, plain))
    if on is None:
        build = _here(app, sweep.name, load, quiet=as_json)
    else:
        asked = {
            "manifest": as_named_elsewhere(manifest),
            "profile": profile,
            "overrides": overrides,
            "load": load,
        }
        needs = resources(app, plain, gpus=gpus, cpus=None, memory=memory, hours=None)
        build = _elsewhere(app, on, asked, needs, sweep.digest)
    try:
        tried = run_sweep(sweep, build, home=app.settings.home, parallel=parallel, say=app.note)
    except KeyboardInterrupt:
        if on is not None:
            app.note(
                f"trials that were begun go on at {on} (`adapters jobs`); the same command takes "
                "them up"
            )
        raise
    best = winner(tried, graded(sweep.metric, plain.evaluate.graders))
    if best is not None:
        _promote(app, best, len(tried))
    if as_json:
        shown = None if best is None else best.to_json()
        printing.echo_json({"trials": [one.to_json() for one in tried], "best": shown})
    else:
        _show(tried, sweep.metric)
    if best is None:
        raise Refused(
            "no trial passed its gates"
            if plain.evaluate.gates
            else "no trial was built to its end",
            hint="intervals of gates and budgets are wider by the number of trials",
        )
    if not as_json:
        click.echo(f"best: {best.ref}")
        settings = " ".join(f"--set {key}={value}" for key, value in best.settings.items())
        chosen = f" --profile {profile}" * (profile is not None)
        click.echo(f"build it under its own name: adapters build {manifest}{chosen} {settings}")


def _digest_of_rows(app: App, manifest: Manifest) -> str:
    """Of the rows that trials are built of: a corrected file is another sweep."""
    from adapterworks.builders.data.gather import gather
    from adapterworks.builders.data.identity import asked_digest

    splits = gather(manifest, cache=app.settings.home / "cache", registry=app.registry)
    return asked_digest([*splits.train, *splits.validation, *splits.test])


def _here(app: App, name: str, load: Any, *, quiet: bool) -> Build:
    """Trials are built by this process, one after the other."""
    from adapterworks.builders.building.run import run_build
    from adapterworks.builders.sweeping.sweep import Built, Pruned
    from adapterworks.builders.sweeping.trials import forget
    from adapterworks.engines.compose import compose_builders_engines
    from adapterworks.progress import BuildProgress

    def build(label: str, overrides: Sequence[str], listen: Listener) -> Built:
        plan = ""

        def note_plan(event: Event) -> None:
            nonlocal plan
            if event["event"] == "plan":
                plan = event["digest"]

        with BuildProgress(quiet=quiet or app.quiet, label=label) as progress:
            try:
                result = run_build(
                    load(overrides),
                    registry=app.registry,
                    bases=app.bases,
                    home=app.settings.home,
                    who=app.settings.who,
                    hold_alias=True,
                    engines=compose_builders_engines(app, say=progress.say),
                    listeners=(progress, note_plan, listen),
                    progress=progress.say,
                )
            except Pruned:
                forget(app.settings.home / "builds", name, plan)
                raise
        return Built(result.ref, result.report)

    return build


def _elsewhere(app: App, on: str, asked: Mapping[str, Any], needs: Resources, sweep: str) -> Build:
    """Trials are built where `on` says; none is ended early there.

    Args:
        sweep: its digest, by which jobs are found that it queued before it was interrupted.
    """
    from adapterworks.builders.sweeping.sweep import Built
    from adapterworks.manifests.digests import digest_json
    from adapterworks.workers import detached
    from adapterworks.workers.executors.open import open_executor
    from adapterworks.workers.executors.where import parse_where
    from adapterworks.workers.placed import WorkerGone
    from adapterworks.workers.reattach import reattach
    from adapterworks.workers.remote import begin, follow

    where = parse_where(on)
    executor = open_executor(where, app.settings)
    one_at_a_time = threading.Lock()

    def build(label: str, overrides: Sequence[str], listen: Listener) -> Built:
        given = detached.arguments(
            asked["load"](overrides),
            asked["manifest"],
            asked["profile"],
            (*asked["overrides"], *overrides),
            alias=None,
            resume=False,
            force=False,
            who=app.settings.who,
        )
        labels = {TRIAL: digest_json([sweep, *overrides])}
        try:
            with one_at_a_time:
                begun = reattach(app, where, executor, labels) or begin(
                    app, where, executor, given, resources=needs, labels=labels
                )
        except (InvalidInput, NotFound, Refused) as error:  # of the place, not of these settings
            raise Unavailable(error.message, hint=error.hint) from error
        try:
            job = follow(app, executor, begun, lambda line: app.note(f"{label}: {line}"))
        except WorkerGone as error:  # its place has tried it as often as it does
            raise Refused(error.message, hint=error.hint) from error
        if job.code == detached.MANIFEST_CHANGED:  # and not these settings
            raise Conflict(job.message)
        if job.state != "succeeded":
            raise Refused(f"the job `{job.id}` was {job.state}: {job.message}")
        report = json.loads(app.registry.read(job.result["digest"], "report.json"))
        return Built(job.result["ref"], report)

    return build


def _promote(app: App, best: Tried, trials: int) -> None:
    from adapterworks.builders.sweeping.sweep import BEST

    assert best.ref is not None
    name, _, version = best.ref.rpartition("@")
    with suppress(NotFound):
        if app.registry.resolve(f"{name}:{BEST}").version == int(version):
            return
    why = f"the best of {trials} trials whose gates passed"
    app.registry.promote(name, int(version), BEST, who=app.settings.who, why=why)


def _show(tried: Sequence[Tried], metric: str) -> None:
    rows = []
    for one in tried:
        settings = " ".join(f"{key}={value}" for key, value in one.settings.items())
        score = "" if one.score is None else f"{one.score:.3f}"
        gain = ""
        if one.gain is not None:
            gain = f"{one.gain[0]:+.3f} [{one.gain[1]:+.3f}, {one.gain[2]:+.3f}]"
        value = "" if one.value is None else f"{one.value:.4f}"
        gates = {"built": "passed" if one.passed else "not passed"}.get(one.state, one.state)
        rows.append((one.number + 1, settings, value, one.ref or "", score, gain, gates))
    columns = ("#", "SETTINGS", "VALIDATION", "REF", metric.upper(), "GAIN OVER BASE", "GATES")
    printing.echo_table(columns, rows)
