"""`adapters diff`: what differs between two releases."""

from __future__ import annotations

from typing import Any

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_ref
from adapterworks.manifests.digests import short_digest

SECTIONS = ("release", "manifest", "data", "lock", "metrics", "files")


@click.command()
@click.argument("before", shell_complete=complete_ref)
@click.argument("after", shell_complete=complete_ref)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, before: str, after: str, as_json: bool) -> None:
    """Compare two releases.

    Manifest keys, data digests, locked packages and code, metrics, files and size.

    \b
    Example:
      adapters diff medical@2 medical@3
      adapters diff medical:prod medical:candidate --json
    """
    found = app.registry.diff(app.look_for(before), app.look_for(after))
    if as_json:
        printing.echo_json(found)
        return
    click.echo(f"{found.before} → {found.after}")
    if found.same:
        click.echo("the same release")
        return
    for section in SECTIONS:
        changes = getattr(found, section)
        if changes:
            click.echo(f"\n{section}")
            printing.echo_table(
                ("key", str(found.before), str(found.after)),
                ((change.key, _cell(change.before), _cell(change.after)) for change in changes),
            )
    small, large = found.size
    click.echo(
        f"\nsize  {printing.size(small)} → {printing.size(large)} ({large - small:+d} bytes)"
    )


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    text = str(value)
    return short_digest(text) if text.startswith("sha256:") else text
