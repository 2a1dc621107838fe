"""`adapters pull`: a release on the Hub becomes the same release here."""

from __future__ import annotations

import json

import click

from adapterworks.app import App
from adapterworks.cli import printing


@click.command()
@click.argument("source")
@click.option(
    "--as",
    "name",
    help="The name here (default: that of its record; one that exists here must be said).",
)
@click.option("--alias", help="Point this alias to it.")
@click.option("--base", help="For adapters that were not pushed from here: the base to import for.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    source: str,
    name: str | None,
    alias: str | None,
    base: str | None,
    as_json: bool,
) -> None:
    """Pull a release from the Hugging Face Hub.

    SOURCE is org/name@revision (a tag, a commit, or a branch as it is now). What `adapters push`
    put there comes back as the same release, byte for byte; any other adapter is imported, with
    all checks, and needs --as and --base.

    \b
    Example:
      adapters pull org/medical-lora@v3
      adapters pull org/somebodys-lora@main --as support --base smollm2-135m-instruct
    """
    from adapterworks.manifests.errors import InvalidInput
    from adapterworks.registry.releases.roles import UNPROVED, role_of
    from adapterworks.registry.remotes.hub.client import Hub
    from adapterworks.registry.remotes.hub.layout import RECORD
    from adapterworks.registry.remotes.hub.names import HubSource, parse_source
    from adapterworks.registry.remotes.hub.pull import pull

    hub, wanted = Hub(), parse_source(source)
    withheld: tuple[str, ...] = ()
    state = hub.state(wanted)
    if not wanted.is_commit:
        click.echo(f"{wanted} is commit {state.commit}", err=True)
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
        from adapterworks.cli.import_ import run_import

        pinned = str(HubSource(state.repository, state.commit))
        imported = run_import(app, pinned, name=name, base=base, alias=alias)
        published = imported.published
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
        click.echo(json.dumps(values, indent=2))
        return
    done = "pulled" if published.created else "already here:"
    click.echo(f"{done} {published} ({published.digest}) from {state.repository}@{state.commit}")
    if withheld:
        click.echo(
            f"without the bytes of: {printing.harmless(' '.join(withheld))} (withheld there)",
            err=True,
        )
    for role, unproved in UNPROVED.items():
        without = [path for path in withheld if role_of(path) == role]
        if without:
            click.echo(f"without {printing.harmless(without[0])} {unproved}", err=True)
    if "fingerprint.json" in withheld:
        click.echo(
            'a gateway serves it only under `trust.proof = "warn"` or "off"',
            err=True,
        )
