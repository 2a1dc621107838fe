"""`adapters rollback`: undo the last standing step of an alias."""

from __future__ import annotations

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_ref
from adapterworks.cli.promote import describe, expected


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.option(
    "--expect",
    help="Only if this version would go: the running canary, or else the holder.",
)
@click.option("--why", default="", help="Reason, for the log.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, ref: str, expect: str | None, why: str, as_json: bool) -> None:
    """Move an alias back to where it was.

    Ends a running canary; otherwise goes back to the previous holder. Every rollback goes one step
    further back, so if two people react to the same incident, both should name the bad version with
    `--expect`: the second call then changes nothing.

    \b
    Example:
      adapters rollback medical:prod --why "wrong codes for chapter J"
      adapters rollback medical:prod --expect medical@4
    """
    from adapterworks.manifests.errors import InvalidInput

    parsed = app.ref(ref)
    if parsed.alias is None:
        raise InvalidInput(
            f"`{ref}` is a version, not an alias", hint=f"write `{parsed.name}:prod`"
        )
    wanted = expected(app.registry, parsed.name, expect)
    if wanted is None:
        raise InvalidInput("`--expect none`: an alias that is not there cannot go back")
    move = app.registry.rollback(
        parsed.name, parsed.alias, who=app.settings.who, why=why, expect=wanted
    )
    if as_json:
        printing.echo_json(move)
    else:
        click.echo(describe(move))
