"""`adapters tag`: words given to and taken from a release after it was published."""

from __future__ import annotations

import re

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_ref

_TAKE = "\0"  # stands for the dash of `-WORD` while click looks for options


class _Words(click.Command):
    """A command whose arguments may begin with a dash; `-h` alone is still help."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Hide the dash of words from click's options."""
        hidden = [
            _TAKE + word[1:] if re.match(r"-[^-].", word) and before != "--why" else word
            for before, word in zip(["", *args], args, strict=False)
        ]
        return super().parse_args(ctx, hidden)


@click.command(cls=_Words)
@click.argument("ref", shell_complete=complete_ref)
@click.argument("words", nargs=-1, required=True, metavar="[+WORD|-WORD]...")
@click.option("--why", default="", help="Reason, for the log.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, ref: str, words: tuple[str, ...], why: str, as_json: bool) -> None:
    """Add tags to a release, or remove them.

    +WORD adds a tag, -WORD removes one. The record keeps the tags it was published with; changes
    are in the log, and `adapters list`, `search` and `show` use them.

    \b
    Example:
      adapters tag medical@3 +reviewed -draft
    """
    from adapterworks.manifests.errors import InvalidInput

    for word in words:
        if word[:1] not in ("+", _TAKE):
            raise InvalidInput(f"`{word}` says not whether to give or take it", hint=f"+{word}")
    resolved = app.registry.resolve(app.ref(ref))
    tags = app.registry.tag(
        resolved.name,
        resolved.version,
        add=[word[1:] for word in words if word[0] == "+"],
        remove=[word[1:] for word in words if word[0] == _TAKE],
        who=app.settings.who,
        why=why,
    )
    if as_json:
        printing.echo_json({"ref": str(resolved), "tags": tags})
    else:
        click.echo(f"{resolved}: {' '.join(tags) or 'no tags'}")
