"""`adapters rebase`: move adapters to a new base, and keep what answers where that is better."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_name
from adapterworks.cli.values import Real
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.sources import FileSource, parse_base

if TYPE_CHECKING:
    from adapterworks.manifests.models import Manifest
    from adapterworks.reconciling.rebase import Move, Stays


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME…]", shell_complete=complete_name)
@click.option("--base", required=True, help="The new base: a name, `hub:org/name@commit`, a path.")
@click.option("--all", "all_", is_flag=True, help="Every adapter that has an alias.")
@click.option(
    "--manifests",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Take the manifests of this folder instead of those in the releases.",
)
@click.option(
    "--margin",
    type=Real(0.0),
    default=0.02,
    show_default=True,
    help="What a new release may lose against today's, in each metric's own unit.",
)
@click.option("--check", is_flag=True, help="Build nothing; exit with 1 if something would be.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    names: tuple[str, ...],
    base: str,
    all_: bool,
    folder: Path | None,
    margin: float,
    check: bool,
    as_json: bool,
) -> None:
    """Build adapters on a new base and promote what survives.

    Each adapter is built from its own manifest with `base.model` replaced. If it passes its gates,
    it is compared with the current `prod` release on the same test rows, and survives if it loses
    no more than `--margin`, at the confidence of its gates. Then `prod` moves, and so does
    `publish.alias` if it pointed to the same release. Adapters that do not survive are published
    without an alias. Versions on the old base stay: `adapters rollback NAME:prod` brings one back.
    If it is interrupted, run it again to resume. Manifest files keep the old base; changing them is
    up to you.

    \b
    Example:
      adapters rebase --base hub:org/better-base@COMMIT medical code
      adapters rebase --base better-base --all --check
    """
    from adapterworks.cli.apply import builder, show_outcomes
    from adapterworks.cli.printing import echo_json
    from adapterworks.cli.status import reader_of
    from adapterworks.engines.compose import compose_builders_engines
    from adapterworks.reconciling.rebase import plan_rebase, rebase
    from adapterworks.reconciling.reconciler import Reconciler, worst_code

    if bool(names) == all_:
        raise InvalidInput(
            "name adapters, or all of them with `--all`",
            hint=f"adapters rebase --base {base} medical",
        )
    if Path(base).is_dir() and isinstance(parse_base(base), FileSource):
        base = str(Path(base).resolve())  # it begins here, not where a manifest lies
    reader = reader_of(app)
    declared = _declared(folder)
    chosen = list(names) or [row.name for row in reader.names() if row.aliases]
    planned = plan_rebase(reader, chosen, base, manifests=declared)
    if check:
        _check(planned, base, as_json)
    say = (lambda line: None) if as_json else printing.note
    engines = compose_builders_engines(app, say=say)
    build = builder(app, quiet=as_json, hold_alias=True)
    reconciler = Reconciler(reader, app.settings.who, build, engines, say)
    outcomes = []
    for outcome in rebase(reconciler, planned, base=base, margin=margin):
        outcomes.append(outcome)
        say(f"{outcome.name}: {outcome.result}")
    if as_json:
        echo_json(outcomes)
    else:
        show_outcomes(outcomes)
    if moved := [outcome.name for outcome in outcomes if outcome.result == "rebased"]:
        say(
            f'set `base.model = "{base}"` in the manifests of {", ".join(moved)}: `adapters apply` '
            "goes by them, and would move `publish.alias` back"
        )
    sys.exit(worst_code(outcomes))


def _declared(folder: Path | None) -> dict[str, Manifest]:
    """The manifests of a folder by the adapter's name.

    Raises:
        ManifestError: one of them is faulty.
        InvalidInput: two of them declare one adapter.
    """
    from adapterworks.reconciling.folder import read_folder

    found: dict[str, Manifest] = {}
    files: dict[str, str] = {}
    for item in read_folder(folder).read if folder is not None else ():
        if item.error is not None:
            raise item.error
        assert item.manifest is not None
        name = item.manifest.adapter.name
        if name in found:
            raise InvalidInput(
                f"`{files[name]}` and `{item.file}` both declare `{name}`",
                hint="rename one of them, or take it out of the folder",
            )
        found[name], files[name] = item.manifest, item.file
    return found


def _check(planned: list[Move | Stays], base: str, as_json: bool) -> None:
    """Show what would be built and end: with 1 if anything would."""
    from adapterworks.cli.printing import echo_json, echo_table
    from adapterworks.reconciling.rebase import Move

    rows = [
        (item.name, f"{item.name}@{item.today.version}", "to rebase", ", ".join(item.aliases))
        if isinstance(item, Move)
        else (item.name, item.ref, "as it is", item.why)
        for item in planned
    ]
    if as_json:
        echo_json(
            [dict(zip(("name", "ref", "result", "detail"), row, strict=True)) for row in rows]
        )
    else:
        echo_table(("ADAPTER", "TODAY", f"ON {base}", "ALIASES, OR WHY NOT"), rows)
    sys.exit(1 if any(isinstance(item, Move) for item in planned) else 0)
