"""`adapters validate`: faults are the command's data, so they go to stdout; exit code 2 if any."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

import click

from adapterworks.cli import printing
from adapterworks.cli.completion import complete_manifest
from adapterworks.errors import EXIT_CODES
from adapterworks.manifests.errors import InvalidInput, NotFound


@click.command()
@click.argument(
    "manifests", nargs=-1, required=True, metavar="MANIFEST…", shell_complete=complete_manifest
)
@click.option("--profile", help="Check with this profile only.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    manifests: tuple[str, ...], profile: str | None, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Check manifests and report every fault at once.

    MANIFEST is a path, or the name of a manifest in ./manifests or of a built-in one. It is checked
    as it is and with each of its profiles. Python files that it names
    (`./my_metrics.py:f1_of_codes`) are imported.

    \b
    Example:
      adapters validate medical.toml
      adapters validate medical --profile quick --set train.epochs=1
    """
    from adapterworks.manifests.faults import Fault
    from adapterworks.manifests.load import Inspection, inspect_manifest

    reports = []
    for source in manifests:
        try:
            found = inspect_manifest(source, profile=profile, overrides=overrides)
        except NotFound as error:
            if len(manifests) == 1:
                raise
            found = Inspection((), (Fault(source, None, "", error.message, error.hint),), ())
        checked = [profile] if profile is not None else list(found.profiles)
        reports.append((source, checked, found))
    if as_json:
        click.echo(
            json.dumps(
                [
                    {
                        "manifest": source,
                        "ok": not found.faults,
                        "profiles": checked,
                        "imports": list(found.imports),
                        "faults": [fault.to_json() for fault in found.faults],
                    }
                    for source, checked, found in reports
                ],
                indent=2,
                ensure_ascii=False,
            )
        )
    else:
        for source, checked, found in reports:
            for file in found.imports:
                click.echo(f"{source}: imports {file}")
            for fault in found.faults:
                click.echo(str(fault))
                if fault.hint:
                    click.echo(f"  {click.style('hint:', fg='cyan')} {fault.hint}")
            if not found.faults:
                with_profiles = f" (with {', '.join(checked)})" if checked else ""
                click.echo(f"{source}: ok{with_profiles}")
                _note_absent(source, profile, overrides)
    if any(found.faults for _, _, found in reports):
        sys.exit(EXIT_CODES[InvalidInput])


def _note_absent(source: str, profile: str | None, overrides: Sequence[str]) -> None:
    """Say which data files a build would not find; no fault, since rows may come later."""
    from adapterworks.manifests.load import load_manifest
    from adapterworks.manifests.paths import require_files

    try:
        require_files(load_manifest(source, profile=profile, overrides=overrides))
    except NotFound as error:
        printing.note(f"{source}: {error.message}; {error.hint}")
