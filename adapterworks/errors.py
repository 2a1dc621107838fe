"""The one map from exception to exit code, and how an error looks on a terminal."""

from __future__ import annotations

import os

import click

from adapterworks.manifests.errors import (
    AdapterworksError,
    Conflict,
    IntegrityError,
    InvalidInput,
    NotFound,
    Refused,
    Unavailable,
)
from adapterworks.manifests.texts import harmless as harmless

EXIT_CODES: dict[type[AdapterworksError], int] = {
    InvalidInput: 2,
    NotFound: 3,
    Conflict: 4,
    IntegrityError: 5,
    Refused: 6,
    Unavailable: 7,
    AdapterworksError: 1,
}


def exit_code(error: AdapterworksError) -> int:
    """The exit code of the most specific class in the map."""
    return next(EXIT_CODES[cls] for cls in type(error).__mro__ if cls in EXIT_CODES)


def of_click(error: click.ClickException) -> InvalidInput:
    """What click says of a command line, in our words: one style for all errors."""
    message = error.format_message().rstrip(".")
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = None if context is None else f"`{context.command_path} --help` shows what it takes"
    return InvalidInput(message[:1].lower() + message[1:], hint=hint)


def set_color(choice: str) -> None:
    """Let `always` or `never` hold for all that prints in this process; `auto` is the environment.

    There `FORCE_COLOR=0` is no wish for colours.
    """
    if choice == "never":
        os.environ["NO_COLOR"] = "1"
    elif choice == "always":
        os.environ.pop("NO_COLOR", None)
        os.environ["FORCE_COLOR"] = "1"
    elif os.environ.get("FORCE_COLOR", "").lower() in ("0", "false"):
        del os.environ["FORCE_COLOR"]  # rich takes any value for yes


def wants_color() -> bool | None:
    """What the environment says (https://no-color.org); None: as the terminal can."""
    if os.environ.get("NO_COLOR"):
        return False
    return True if os.environ.get("FORCE_COLOR") else None


def render(error: AdapterworksError) -> None:
    """Print an error and its hint on stderr."""
    color = wants_color()
    click.secho("error: ", fg="red", bold=True, nl=False, err=True, color=color)
    click.echo(harmless(error.message), err=True)
    if error.hint:
        click.echo(err=True)
        click.secho("hint: ", fg="cyan", nl=False, err=True, color=color)
        click.echo(harmless(error.hint), err=True)
