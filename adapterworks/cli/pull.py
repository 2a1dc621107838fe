"""`adapters pull`: a release on the Hub becomes the same release here."""

from __future__ import annotations

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.extras import require


@click.command()
@click.argument("source")
@click.option(
    "--as",
    "name",
    help="The name here (default: that of its record; one that exists here must be said).",
)
@click.option("--alias", help="Point this alias to it.")
@click.option("--base", help="For adapters that were not pushed from here: the base to import for.")
@click.option(
    "--quantization",
    type=click.Choice(["none", "nf4"]),
    help="As `adapters import`, for those.",
)
@click.option("--rename", is_flag=True, help="As `adapters import`, for those.")
@click.option("--fingerprint", is_flag=True, help="As `adapters import`, for those.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    source: str,
    name: str | None,
    alias: str | None,
    base: str | None,
    quantization: str | None,
    rename: bool,
    fingerprint: bool,
    as_json: bool,
) -> None:
    """Pull a release from the Hugging Face Hub.

    SOURCE is org/name@revision (a tag, a commit, or a branch as it is now). What `adapters push`
    put there comes back as the same release, byte for byte; any other adapter is imported, with
    all checks, and needs --as and --base.

    \b
    Example:
      adapters pull org/medical-lora@v3
      adapters pull org/somebodys-lora@main --as support --base smollm2-135m-instruct --fingerprint
    """
    from adapterworks.manifests.errors import InvalidInput
    from adapterworks.manifests.refs import check_name
    from adapterworks.registry.releases.roles import UNPROVED, role_of
    from adapterworks.registry.remotes.hub.client import Hub
    from adapterworks.registry.remotes.hub.layout import RECORD
    from adapterworks.registry.remotes.hub.names import HubSource, parse_source
    from adapterworks.registry.remotes.hub.pull import pull

    hub, wanted = Hub(), parse_source(source)
    withheld: tuple[str, ...] = ()
    state = hub.state(wanted)
    if not wanted.is_commit:
        printing.note(f"{wanted} is commit {state.commit}")
    if RECORD in state.files and (base or quantization or rename or fingerprint):
        raise InvalidInput(
            f"`{state.repository}` was pushed by adapterworks: its record says its base, and it "
            "brings its own fingerprint",
            hint=f"adapters pull {state.repository}@{wanted.revision}",
        )
    if name is not None:
        app.registry.require_movable(check_name(name), alias)
    if RECORD in state.files:
        pulled = pull(
            app.registry,
            hub,
            state,
            who=app.settings.who,
            scratch=app.settings.home / "tmp",
            find_base=app.bases.find,
            name=name,
            alias=alias,
        )
        published, withheld = pulled.published, pulled.withheld
    elif name is None or base is None:
        raise InvalidInput(
            f"`{state.repository}` was not pushed by adapterworks, so it is an import",
            hint=f"adapters pull {state.repository}@{wanted.revision} --as NAME --base BASE",
        )
    else:
        from adapterworks.cli.import_ import run_import, warn

        pinned = str(HubSource(state.repository, state.commit))
        if fingerprint:
            require("build", "`adapters pull --fingerprint`")
        imported = run_import(
            app,
            pinned,
            name=name,
            base=base,
            quantization=quantization or "none",
            alias=alias,
            rename=rename,
            fingerprint=fingerprint,
        )
        published = imported.published
        warn(app, imported)
    if as_json:
        values = {
            "name": published.name,
            "version": published.version,
            "digest": published.digest,
            "created": published.created,
            "repository": state.repository,
            "commit": state.commit,
            "withheld": withheld,
        }
        printing.echo_json(values)
        return
    done = "pulled" if published.created else "already here:"
    click.echo(f"{done} {published} ({published.digest}) from {state.repository}@{state.commit}")
    if withheld:
        printing.note(
            f"without the bytes of: {printing.harmless(' '.join(withheld))} (withheld there)"
        )
    for role, unproved in UNPROVED.items():
        without = [path for path in withheld if role_of(path) == role]
        if without:
            printing.note(f"without {printing.harmless(without[0])} {unproved}")
    if "fingerprint.json" in withheld:
        printing.note('a gateway serves it only under `trust.proof = "warn"` or "off"')
