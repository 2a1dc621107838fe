"""Before something goes for good: who is asked, and what a script says instead."""

from __future__ import annotations

import click

from adapterworks.cli import printing
from adapterworks.manifests.errors import InvalidInput


def agree(question: str, *, yes: bool, what: str, as_json: bool = False) -> None:
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
