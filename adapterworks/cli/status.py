"""`adapters status`: what is as its manifest declares, and what is not and why; changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.cli import printing

if TYPE_CHECKING:
    from adapterworks.reconciling.entries import Differences, Entry
    from adapterworks.reconciling.state import World
    from adapterworks.reconciling.world import Reader

DIRECTORY = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("folder", metavar="[DIR]", type=DIRECTORY, default=Path("manifests"))
@click.option("--profile", help="Apply this profile to every manifest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, folder: Path, profile: str | None, as_json: bool) -> None:
    """Compare a folder of manifests with what is built and served.

    DIR is ./manifests by default. The current rows are compared with those of the releases; no
    model is loaded and nothing is changed. `adapters apply` resolves the differences.

    \b
    Signs:
      +  not built     ~  differs     -  no longer declared     =  as declared
      !  differs, and needs a person: a manifest is faulty, a gate failed, an alias was rolled back
    \b
    Example:
      adapters status adapters/
      adapters status --json | jq '.entries[] | select(.sign != "=") | .name'
    """
    from adapterworks.reconciling.differences import differences
    from adapterworks.reconciling.folder import read_folder

    reader = reader_of(app)
    world = reader.read(read_folder(folder, profile=profile))
    found = differences(world, rows_changed=reader.rows_changed)
    if as_json:
        from adapterworks.cli.printing import echo_json

        echo_json(plan_json(found))
        return
    show(found, found.entries, world)
    if any(entry.actions for entry in found.entries):
        profiled = f" --profile {profile}" if profile else ""
        printing.note(f"`adapters apply {folder}{profiled}` resolves the differences")


def reader_of(app: App) -> Reader:
    """What reads the world of these settings."""
    from adapterworks.reconciling.world import Reader

    return Reader(app.registry, app.bases, app.settings.home)


def show(found: Differences, entries: tuple[Entry, ...], world: World) -> None:
    """The table: one line for each thing that differs, notes below it."""
    from adapterworks.cli.printing import echo_table

    echo_table(
        ("", "ADAPTER", "VERSION", "STATE", "WHY", "APPLY"),
        (line for entry in entries for line in _lines(entry)),
    )
    if world.skipped:
        printing.note(f"no manifests: {', '.join(world.skipped)}")
    if found.others:
        printing.note(f"not of this folder, let be: {', '.join(found.others)}")


def _lines(entry: Entry) -> list[tuple[str, ...]]:
    version = "@" + entry.ref.rpartition("@")[2] if entry.ref else ""
    actions = ", ".join(map(str, entry.actions))
    cells = [(finding.what, finding.why) for finding in entry.findings]
    if not cells:
        cells = [("as declared", "")]
    cells += [("", note) for note in entry.notes]
    first, *rest = cells
    if not entry.findings and rest:  # the first note stands on the line of what it is about
        (_, note), *rest = rest
        first = (first[0], note)
    return [
        (entry.sign, entry.name, version, *first, actions),
        *(("", "", "", *cell, "") for cell in rest),
    ]


def plan_json(found: Differences) -> dict[str, Any]:
    """The plan for programs."""
    return {
        "differs": bool(found.differing),
        "entries": [
            {
                "name": entry.name,
                "sign": entry.sign,
                "file": entry.file,
                "ref": entry.ref,
                "findings": [{"what": f.what, "why": f.why} for f in entry.findings],
                "actions": [str(action) for action in entry.actions],
                "notes": list(entry.notes),
            }
            for entry in found.entries
        ],
        "others": list(found.others),
    }
