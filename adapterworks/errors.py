"""The one map from exception to exit code, and how an error looks on a terminal."""

from __future__ import annotations

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


def render(error: AdapterworksError) -> None:
    """Print an error and its hint on stderr."""
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(error.message, err=True)
    if error.hint:
        click.echo(err=True)
        click.secho("hint: ", fg="cyan", nl=False, err=True)
        click.echo(error.hint, err=True)
