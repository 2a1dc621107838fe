"""`adapters delete`: a version becomes a tombstone; its bytes go at the next gc."""

from __future__ import annotations

import click

from adapterworks.app import App
from adapterworks.cli import printing


@click.command()
@click.argument("ref")
@click.option("--why", default="", help="Reason, for the log and for whoever asks for it later.")
@click.option("--with-aliases", is_flag=True, help="Remove the aliases that it holds, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, ref: str, why: str, with_aliases: bool, as_json: bool) -> None:
    """Delete a version, leaving a tombstone.

    The number is never used again. A version that an alias points to is refused, unless
    its aliases are to go with it: then nobody is served by them any more.

    \b
    Example:
      adapters delete medical@2 --why "trained on the wrong split"
      adapters delete medical@2 --with-aliases --why "a patient withdrew consent"
    """
    from adapterworks.manifests.errors import InvalidInput
    from adapterworks.manifests.refs import parse_ref

    parsed = parse_ref(ref)
    if parsed.alias is not None:
        raise InvalidInput(f"`{ref}` does not name one version", hint=f"write `{parsed.name}@N`")
    resolved = app.registry.resolve(parsed)
    app.registry.delete(
        resolved.name,
        resolved.version,
        with_aliases=with_aliases,
        who=app.settings.who,
        why=why,
    )
    if as_json:
        printing.echo_json({"deleted": str(resolved), "digest": resolved.digest})
    else:
        click.echo(f"deleted {resolved}; its bytes go at the next gc")
