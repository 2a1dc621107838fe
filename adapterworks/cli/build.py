"""`adapters build`: run a build and say what it came to; the result is data, progress is not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_manifest
from adapterworks.cli.option_rules import refuse_unless
from adapterworks.cli.values import ALIAS, COUNT, POSITIVE, PRIORITY, Real
from adapterworks.manifests.digests import short_digest
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import ENGINES
from adapterworks.manifests.objective import NEAREST

if TYPE_CHECKING:
    from adapterworks.builders.building.result import BuildResult
    from adapterworks.reconciling.folder import Folder
    from adapterworks.reconciling.reconciler import BuildOne

# Stages in words.
_REUSED = {
    "train": "training",
    "convert": "conversion",
    "ask": "answers",
    "evaluate": "evaluation",
}


@click.command()
@click.argument("manifest", metavar="[MANIFEST]", required=False, shell_complete=complete_manifest)
@click.option(
    "--all",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Build every manifest of a folder, ordered by name.",
)
@click.option("--profile", help="Apply this profile of the manifest.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option("--alias", type=ALIAS, help="Move this alias instead of `publish.alias`.")
@click.option("--engine", type=click.Choice(ENGINES), help="Sets `evaluate.engine`.")
@click.option("--processes", type=POSITIVE, metavar="N", help="`train.processes`: one per GPU.")
@click.option("--resume", is_flag=True, help="Only resume an unfinished build.")
@click.option("--force", is_flag=True, help="Start over, even if this plan has a release.")
@click.option("--detach", is_flag=True, help="Queue it for a worker and print the job's id.")
@click.option(
    "--priority",
    type=PRIORITY,
    default=0,
    help="With --detach or --on: higher runs earlier (0).",
)
@click.option(
    "--on",
    metavar="PLACE",
    help="Build there: `slurm:PARTITION`, `ray://HOST:PORT`, `k8s:NAMESPACE`, `local` (a "
    "process that outlives this one).",
)
@click.option("--gpus", type=COUNT, help="With --on: GPUs of the node (`resources.gpus`, or 0).")
@click.option("--cpus", type=POSITIVE, help="With --on: CPU cores.")
@click.option(
    "--memory", metavar="SIZE", help="With --on: e.g. `16GB` (`resources.memory`, or the plan's)."
)
@click.option("--hours", type=Real(0.01), help="With --on: time limit in hours.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    manifest: str | None,
    folder: Path | None,
    profile: str | None,
    overrides: tuple[str, ...],
    alias: str | None,
    engine: str | None,
    processes: int | None,
    resume: bool,
    force: bool,
    detach: bool,
    priority: int,
    on: str | None,
    gpus: int | None,
    cpus: int | None,
    memory: str | None,
    hours: float | None,
    as_json: bool,
) -> None:
    """Train, evaluate, convert and publish an adapter.

    An unchanged plan is not built again; its existing release is reported. If part of it has
    changed, only the stages that depend on that part run again (`adapters plan` shows their
    digests): a corrected tag or a looser gate does not retrain. The alias moves only if every gate
    passes and nobody else has moved it in the meantime.

    Ctrl-C or SIGTERM ends a training after its step, which is saved (a second Ctrl-C does not wait
    for that). The same command goes on from there, and after kill -9 from the last checkpoint.

    With `--all`, one failure does not stop the others; the table at the end and the exit code
    report it. `adapters apply` builds only what differs from what is published.

    \b
    Example:
      adapters build medical --profile quick
      adapters build medical.toml --set train.epochs=1 --alias staging
      adapters build --all adapters/
      adapters build medical --detach
      adapters build medical --on slurm:gpu --gpus 1 --memory 64GB
      adapters build medical --on ray://head.internal:8265 --gpus 1
    """
    from adapterworks.builders.building.run import run_build
    from adapterworks.engines.compose import compose_builders_engines
    from adapterworks.manifests.load import load_manifest
    from adapterworks.progress import BuildProgress
    from adapterworks.reconciling.folder import read_folder

    refuse_unless(on is not None, ("gpus", "cpus", "memory", "hours"), "a build elsewhere: --on")
    refuse_unless(detach or on is not None, ("priority",), "a queued build: --detach, or --on")
    if resume and force:
        raise InvalidInput("`--resume` continues and `--force` starts over", hint="leave one out")
    if engine is not None:
        overrides = (*overrides, f'evaluate.engine="{engine}"')
    if (detach or on) and (manifest is None or folder is not None or resume):
        raise InvalidInput(
            f"`{'--on' if on else '--detach'}` queues one manifest, without `--all` and `--resume`",
            hint="a queued build that is interrupted goes on by itself",
        )
    if processes is not None:
        overrides = (*overrides, f"train.processes={processes}")
    if folder is not None and manifest is None:
        from adapterworks.cli.apply import builder

        read = read_folder(folder, profile=profile, overrides=overrides)
        build = builder(app, quiet=as_json, alias=alias, resume=resume, force=force)
        _build_all(read, build, as_json)
    if manifest is None or folder is not None:
        raise InvalidInput(
            "name one manifest, or a folder of them with `--all`", hint="adapters build medical"
        )
    loaded = load_manifest(manifest, profile=profile, overrides=overrides)
    if detach or on is not None:
        from adapterworks.manifests.document import as_named_elsewhere
        from adapterworks.workers.detached import arguments

        asked = arguments(
            loaded,
            as_named_elsewhere(manifest),
            profile,
            overrides,
            alias=alias,
            force=force,
            who=app.settings.who,
        )
        if on is None:
            _queue(app, asked, priority, as_json)
        else:
            from adapterworks.cli.build_on import build_on, resources

            needs = resources(app, loaded, gpus=gpus, cpus=cpus, memory=memory, hours=hours)
            build_on(app, on, asked, needs, priority=priority, detach=detach, as_json=as_json)
        return
    with BuildProgress(quiet=as_json or app.quiet) as progress:
        result = run_build(
            loaded,
            registry=app.registry,
            bases=app.bases,
            home=app.settings.home,
            who=app.settings.who,
            alias=alias,
            resume=resume,
            force=force,
            engines=compose_builders_engines(app, say=progress.say),
            listeners=(progress,),
            progress=progress.say,
        )
    if as_json:
        from adapterworks.cli.printing import echo_json

        echo_json(result_json(result))
    else:
        _show(result)


def _queue(app: App, asked: dict[str, Any], priority: int, as_json: bool) -> None:
    """Queue a build and print its job."""
    import time

    from adapterworks.registry.jobs import putting, schema
    from adapterworks.registry.jobs.job import BUILD_LANE, DETACHED, OPERATOR, NewJob

    schema.migrate(app.registry.database)
    new = NewJob(DETACHED, OPERATOR, BUILD_LANE, asked, priority=priority)
    with app.registry.database.write() as connection:
        job = putting.put(connection, new, now=time.time())
    if as_json:
        from adapterworks.cli.jobs_shown import job_json
        from adapterworks.cli.printing import echo_json

        echo_json(job_json(job))
        return
    click.echo(job.id)
    app.note(f"`adapters jobs logs {job.id} --follow` shows how it goes")
    app.note("`adapters worker` runs queued builds")


def _build_all(folder: Folder, build: BuildOne, as_json: bool) -> NoReturn:
    """Build every manifest, show what became of each, and end with an exit code of them all."""
    from adapterworks.cli.apply import show_outcomes
    from adapterworks.reconciling.reconciler import build_all, worst_code

    outcomes = []
    for outcome in build_all(folder, build):
        outcomes.append(outcome)
        if not as_json:
            printing.note(f"{outcome.name}: {outcome.result}")
    if as_json:
        from adapterworks.cli.printing import echo_json

        echo_json(outcomes)
    else:
        show_outcomes(outcomes)
    sys.exit(worst_code(outcomes))


def result_json(result: BuildResult) -> dict[str, Any]:
    """What a build came to, for programs."""
    return {
        "ref": result.ref,
        "digest": result.digest,
        "created": result.created,
        "alias": result.alias,
        "reasons": list(result.reasons),
        "kept": result.kept,
        "plan": result.plan.digest,
        "digests": result.plan.digests.to_json(),
        "reused": dict(result.reused),
        "before": None if result.before is None else result_json(result.before),
        "servable": result.servable.model_dump(mode="json") if result.servable else None,
        "report": result.report,
        "folder": str(result.folder),
    }


def _show(result: BuildResult) -> None:

    if result.before is not None:
        _show(result.before)
    if not result.created:
        click.echo(
            f"unchanged: this plan's release is {result.ref} ({short_digest(result.digest)})"
        )
        printing.note("`--force` builds it again")
    for line in score_lines(result.report):
        click.echo(line)
    if not result.created:
        _show_alias(result)
        return
    for stage, source in result.reused.items():
        click.echo(f"{_REUSED[stage]}: reused from {source}")
    memory = result.report["training"]["memory"]
    click.echo(
        f"peak memory {memory['measured'] / 2**20:.0f} MiB, "
        f"predicted {memory['predicted'] / 2**20:.0f} MiB"
    )
    click.echo(f"published {result.ref} ({short_digest(result.digest)})")
    _show_alias(result)


def _show_alias(result: BuildResult) -> None:
    if result.alias is not None:
        click.echo(f"alias {result.ref.partition('@')[0]}:{result.alias} → {result.ref}")
    for reason in result.reasons:
        click.echo(f"alias not moved: {reason}")
    if result.kept:
        click.echo(f"alias not moved: {result.kept}")


def score_lines(report: dict[str, Any]) -> list[str]:
    """One line per metric: adapter, base and baseline, and the gains with their 95 % intervals."""
    lines = []
    for name, entry in (report.get("metrics") or {}).items():
        share = entry["unit"] == "share"
        scale, digits, mark = (100, 1, " %") if share else (1, 3, "")
        values = entry["values"]
        line = f"{name}: adapter {values['candidate'] * scale:.{digits}f}{mark}"
        for subject, shown in (("base", "base"), (NEAREST, "nearest training row")):
            if subject in entry["gains"]:
                gain = entry["gains"][subject]
                line += (
                    f", {shown} {values[subject] * scale:.{digits}f}{mark}, "
                    f"gain {gain['gain'] * scale:+.{digits}f}{' points' if share else ''} "
                    f"[{gain['low'] * scale:+.{digits}f}, {gain['high'] * scale:+.{digits}f}]"
                )
        if "native" in values:
            line += f", before conversion {values['native'] * scale:.{digits}f}{mark}"
        lines.append(line)
    return lines
