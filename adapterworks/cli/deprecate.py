"""`adapters deprecate`: a version that should no longer be used, and why."""

from __future__ import annotations

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_ref


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.option("--why", "reason", default="", help="Why, and what to use instead.")
@click.option("--undo", is_flag=True, help="Remove the mark.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, ref: str, reason: str, undo: bool, as_json: bool) -> None:
    """Mark a release as no longer to be used.

    Nothing is removed and no alias moves; `adapters show` and `adapters promote` warn about it.

    \b
    Example:
      adapters deprecate medical@2 --why "trained on the wrong split; use medical@3"
      adapters deprecate medical@2 --undo
    """
    from adapterworks.manifests.errors import InvalidInput

    if not undo and not reason.strip():
        raise InvalidInput("`--why` is missing", hint='write why: --why "use medical@3"')
    resolved = app.registry.resolve(app.ref(ref))
    event = app.registry.log.deprecate(
        resolved.name, resolved.version, who=app.settings.who, why=reason, deprecated=not undo
    )
    if as_json:
        printing.echo_json({"ref": str(resolved), "deprecated": not undo, "why": event.why})
    elif undo:
        click.echo(f"{resolved} is no longer deprecated")
    else:
        click.echo(f"{resolved} is deprecated: {reason}")
