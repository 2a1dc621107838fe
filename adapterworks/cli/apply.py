"""`adapters apply`: bring about what a folder of manifests declares."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.status import DIRECTORY, plan_json, reader_of, show
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from adapterworks.builders.building.result import BuildResult
    from adapterworks.manifests.models import Manifest
    from adapterworks.reconciling.entries import Differences
    from adapterworks.reconciling.reconciler import Outcome
    from adapterworks.reconciling.state import World


@click.command()
@click.argument("folder", metavar="DIR", type=DIRECTORY)
@click.option("--prune", is_flag=True, help="Remove aliases of adapters whose manifests are gone.")
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 if something differs.")
@click.option("--yes", is_flag=True, help="Do not ask before aliases are removed.")
@click.option("--profile", help="Apply this profile to every manifest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    folder: Path,
    prune: bool,
    check: bool,
    yes: bool,
    profile: str | None,
    as_json: bool,
) -> None:
    """Build, promote and load what a folder of manifests declares.

    Shows what differs and why, like `adapters status`. Then, for one adapter after the other,
    builds what is missing or stale, moves `publish.alias` to releases that pass their gates, and
    has running gateways load them. If it is killed, run it again to resume. One failure does not
    stop the others; the table at the end and the exit code report it.

    `--prune` removes the aliases of adapters that this folder no longer declares, so that they are
    no longer served; versions and bytes stay until they are deleted (`adapters delete`).

    \b
    Example:
      adapters apply adapters/
      adapters apply adapters/ --check
      adapters apply adapters/ --prune --yes
    """
    from adapterworks.cli.printing import echo_json
    from adapterworks.engines.compose import compose_builders_engines
    from adapterworks.reconciling.differences import differences
    from adapterworks.reconciling.folder import read_folder
    from adapterworks.reconciling.reconciler import Reconciler, worst_code

    if prune and as_json and not (yes or check):
        raise InvalidInput("`--json` does not ask", hint="add --yes, or leave `--prune` out")
    read = read_folder(folder, profile=profile)
    reader = reader_of(app)
    world = reader.read(read)
    found = differences(world, prune=prune, rows_changed=reader.rows_changed)
    if not as_json:
        _show_plan(found, world)
    if check:
        if as_json:
            echo_json(plan_json(found))
        sys.exit(1 if found.differing else 0)
    if prune and not yes:
        _confirm(found)
    say = (lambda line: None) if as_json else printing.note
    engines = compose_builders_engines(app, say=say)
    reconciler = Reconciler(reader, app.settings.who, builder(app, quiet=as_json), engines, say)
    outcomes = []
    for outcome in reconciler.apply(found.differing, read):
        outcomes.append(outcome)
        say(f"{outcome.name}: {outcome.result}")
    if as_json:
        done = [dataclasses.asdict(outcome) for outcome in outcomes]
        echo_json(plan_json(found) | {"outcomes": done})
    elif outcomes:
        show_outcomes(outcomes)
    if outcomes and not world.gateways:
        say("no gateway runs in this ADAPTERS_HOME; `adapters serve` starts one")
    sys.exit(worst_code(outcomes))


def builder(app: App, *, quiet: bool, **options: Any) -> Callable[[str, Manifest], BuildResult]:
    """What builds one manifest, its progress labelled by the adapter's name.

    Args:
        quiet: show no progress.
        options: as `run_build` takes them (`force`, `alias`, …).
    """
    from adapterworks.builders.building.run import run_build
    from adapterworks.engines.compose import compose_builders_engines
    from adapterworks.progress import BuildProgress

    def build(name: str, manifest: Manifest) -> BuildResult:
        with BuildProgress(quiet=quiet or app.quiet, label=name) as progress:
            return run_build(
                manifest,
                registry=app.registry,
                bases=app.bases,
                home=app.settings.home,
                who=app.settings.who,
                engines=compose_builders_engines(app, say=progress.say),
                listeners=(progress,),
                progress=progress.say,
                **options,
            )

    return build


def show_outcomes(outcomes: list[Outcome]) -> None:
    """The table at the end."""
    from adapterworks.cli.printing import echo_table

    rows = [(o.name, o.ref or "", o.result, o.detail) for o in outcomes]
    echo_table(("ADAPTER", "VERSION", "RESULT", "DETAIL"), rows)
    for outcome in outcomes:
        if outcome.hint:
            printing.note(f"hint: {outcome.name}: {outcome.hint}")


def _show_plan(found: Differences, world: World) -> None:
    same = len(found.entries) - len(found.differing)
    shown = tuple(entry for entry in found.entries if entry.differs or entry.sign == "-")
    if shown:
        show(found, shown, world)
    count = f"{len(found.differing)} to do or to look at, " if found.differing else ""
    printing.note(f"{count}{same} as declared")


def _confirm(found: Differences) -> None:
    """Ask before aliases are removed.

    Raises:
        InvalidInput: nobody can be asked.
    """
    gone = [entry for entry in found.differing if entry.sign == "-"]
    if not gone:
        return
    if not printing.is_asked():
        raise InvalidInput(
            f"`--prune` would remove aliases of {', '.join(entry.name for entry in gone)}, and "
            "there is nobody to ask",
            hint="say `--yes`, or leave `--prune` out",
        )
    for entry in gone:
        printing.note(f"{entry.name}: {', '.join(map(str, entry.actions))}")
    click.confirm("Remove these aliases? Versions and bytes stay.", abort=True, err=True)
