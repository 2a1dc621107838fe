"""Before something goes for good: who is asked, and what a script says instead; and what stays."""

from __future__ import annotations

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.manifests.errors import InvalidInput


def confirm(question: str, *, yes: bool, what: str, as_json: bool = False) -> None:
    """Ask on a terminal; a script says `--yes`, and so does whoever wants JSON.

    Raises:
        InvalidInput: nobody can be asked, or nothing but JSON is to be said.
    """
    if yes:
        return
    if as_json:
        raise InvalidInput(f"nothing was {what}: `--json` does not ask", hint="add --yes")
    if not printing.is_asked():
        raise InvalidInput(f"nothing was {what}: nobody can be asked", hint="add --yes")
    click.confirm(question, abort=True, err=True)


def say_unreached(app: App) -> None:
    """Name the places where bytes of a release may be that an erasure does not look at."""
    printing.note(
        "not reached from here: folders of builds and answers that are kept under "
        f"`{app.settings.home}`, checkouts of other machines (their next gc removes them), "
        "backups, old versions in a versioned bucket"
    )
