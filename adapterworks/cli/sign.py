"""`adapters sign`: an OpenSSF model-signing signature over a release's record."""

from __future__ import annotations

from pathlib import Path

import click

from adapterworks.app import App
from adapterworks.cli import printing


@click.command()
@click.argument("ref")
@click.option(
    "--key",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Private key, PEM, elliptic curve (P-256, P-384 or P-521).",
)
@click.option("--ask-password", is_flag=True, help="Ask for the key's password.")
@click.option("--why", default="", help="Reason, for the log.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(app: App, ref: str, key: Path, ask_password: bool, why: str, as_json: bool) -> None:
    """Sign a release record.

    The record names every file by digest, so the signature covers all bytes.

    \b
    Example:
      openssl ecparam -name prime256v1 -genkey -noout -out release.pem
      adapters sign medical@3 --key release.pem
    """
    password = click.prompt("password", hide_input=True, err=True) if ask_password else None
    resolved = app.registry.resolve(ref)
    identity = app.registry.sign(
        resolved.digest, key, password=password, who=app.settings.who, why=why
    )
    if as_json:
        printing.echo_json({"release": str(resolved), "digest": resolved.digest, "key": identity})
    else:
        click.echo(f"signed {resolved} with key {identity}")
