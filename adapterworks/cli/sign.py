"""`adapters sign`: an OpenSSF model-signing signature over a release's record, or its end."""

from __future__ import annotations

from pathlib import Path

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_ref
from adapterworks.cli.values import WrittenFile

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.option("--key", type=_FILE, help="Private key, PEM, elliptic curve (P-256, P-384 or P-521).")
@click.option("--ask-password", is_flag=True, help="Ask for the key's password.")
@click.option(
    "--bundle",
    type=WrittenFile(),
    metavar="FILE",
    help="Also write the signature to FILE, for `adapters verify --bundle`.",
)
@click.option("--revoke", is_flag=True, help="Revoke the release's signatures.")
@click.option("--of", "public", type=_FILE, help="With --revoke: only those of this public key.")
@click.option("--why", default="", help="Reason, for the log; --revoke needs one.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    ref: str,
    key: Path | None,
    ask_password: bool,
    bundle: Path | None,
    revoke: bool,
    public: Path | None,
    why: str,
    as_json: bool,
) -> None:
    """Sign a release record.

    The record names every file by digest, so the signature covers all bytes. With --revoke,
    existing signatures no longer count, here and wherever the release is pushed to from here. The
    same bytes, published or pulled again, stay revoked until somebody signs them here again.
    Deleting a version revokes its signatures too.

    \b
    Example:
      openssl ecparam -name prime256v1 -genkey -noout -out release.pem
      adapters sign medical@3 --key release.pem --bundle medical-3.sig
      adapters sign medical@3 --revoke --why "its training data was poisoned"
    """
    from adapterworks.manifests.errors import InvalidInput
    from adapterworks.registry.lifecycle.revocation import EVERY
    from adapterworks.registry.lifecycle.signing import key_id

    if bundle is not None and bundle.absolute() == (key and key.absolute()):
        raise InvalidInput(f"`{bundle}` is the key", hint="name another file with --bundle")
    if revoke:
        if key is not None or bundle is not None or ask_password:
            raise InvalidInput(
                "`--revoke` needs no private key", hint="one key's: --revoke --of KEY.pub"
            )
        if not why.strip():
            raise InvalidInput("`--revoke` needs `--why`", hint="whoever meets it will ask")
        identity = EVERY if public is None else key_id(public)
        resolved = app.registry.resolve(app.ref(ref))
        app.registry.signatures.revoke(app.ref(ref), identity, who=app.settings.who, why=why)
        if as_json:
            printing.echo_json(
                {"release": str(resolved), "digest": resolved.digest, "revoked": identity}
            )
        else:
            click.echo(f"revoked the signatures of {resolved} by {identity or 'every key'}")
        return
    if key is None or public is not None:
        raise InvalidInput(
            "`--of` goes with `--revoke`" if key else "`--key` is missing",
            hint="adapters sign REF --key release.pem",
        )
    password = click.prompt("password", hide_input=True, err=True) if ask_password else None
    resolved = app.registry.resolve(app.ref(ref))
    identity = app.registry.signatures.sign(
        resolved.digest, key, password=password, who=app.settings.who, why=why
    )
    if bundle is not None:
        bundle.write_text(app.registry.signatures.own(resolved.digest)[identity], encoding="utf-8")
    if as_json:
        printing.echo_json({"release": str(resolved), "digest": resolved.digest, "key": identity})
    else:
        click.echo(f"signed {resolved} with key {identity}")
