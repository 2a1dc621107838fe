"""`adapters pull`: a release on the Hub or in an OCI registry becomes the same release here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.values import ALIAS, NAME
from adapterworks.extras import require

if TYPE_CHECKING:
    from adapterworks.registry.remotes.arriving import Pulled


@dataclass(frozen=True, slots=True)
class Options:
    """How a pull was asked for; see the command's help. The last four are of imports."""

    name: str | None
    alias: str | None
    base: str | None
    quantization: str | None
    rename: bool
    fingerprint: bool


@click.command()
@click.argument("source")
@click.option(
    "--as",
    "name",
    type=NAME,
    help="The name here (default: that of its record; one that exists here must be said).",
)
@click.option("--alias", type=ALIAS, help="Point this alias to it.")
@click.option("--base", help="For adapters that were not pushed from here: the base to import for.")
@click.option(
    "--quantization",
    type=click.Choice(["none", "nf4"]),
    help="As `adapters import`, for those.",
)
@click.option("--rename", is_flag=True, help="As `adapters import`, for those.")
@click.option("--fingerprint", is_flag=True, help="As `adapters import`, for those.")
@click.option(
    "--plain-http", is_flag=True, help="OCI: the registry, on another machine, has no TLS."
)
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
    plain_http: bool,
    as_json: bool,
) -> None:
    """Pull a release from the Hub, an OCI registry, or this registry.

    SOURCE is org/name@revision (a tag, a commit, or a branch as it is now), or
    oci://host/org/name:tag. What `adapters push` put there comes back as the same release, byte
    for byte; any other adapter of the Hub is imported, with all checks, and needs --as and --base.
    A pull that was cut off goes on where it stopped. A REF (medical@3) is checked out of the
    registry that is used, which may be a server (`ADAPTERS_REGISTRY`): what an engine loads, in a
    folder whose path is printed.

    \b
    Example:
      adapters pull org/medical-lora@v3
      adapters pull medical@3
      adapters pull oci://registry.example/org/medical:v3
      adapters pull org/somebodys-lora@main --as support --base smollm2-135m-instruct --fingerprint
    """
    from adapterworks.manifests.errors import InvalidInput
    from adapterworks.registry.releases.roles import UNPROVED, role_of

    options = Options(name, alias, base, quantization, rename, fingerprint)
    if "/" not in source:
        if any((name, alias, base, quantization, rename, fingerprint, plain_http)):
            raise InvalidInput("a REF is checked out, and takes no options of other registries")
        _check_out(app, source, as_json=as_json)
        return
    if source.startswith("oci://"):
        pulled = _from_oci(app, source, options, plain_http=plain_http)
    elif plain_http:
        raise InvalidInput("`--plain-http` is of OCI registries")
    else:
        pulled = _from_hub(app, source, options)
    published, withheld = pulled.published, pulled.withheld
    if as_json:
        values = {
            "name": published.name,
            "version": published.version,
            "digest": published.digest,
            "created": published.created,
            "repository": pulled.repository,
            "commit": pulled.commit,
            "withheld": withheld,
        }
        printing.echo_json(values)
        return
    done = "pulled" if published.created else "already here:"
    click.echo(f"{done} {published} ({published.digest}) from {pulled.repository}@{pulled.commit}")
    if withheld:
        printing.note(
            f"without the bytes of: {printing.harmless(' '.join(withheld))} (withheld there)"
        )
    for role, unproved in UNPROVED.items():
        without = [path for path in withheld if role_of(path) == role]
        if without:
            printing.note(f"without {printing.harmless(without[0])} {unproved}")


def _check_out(app: App, ref: str, *, as_json: bool) -> None:
    """A release of the registry as a folder on this machine: what an engine loads, if it has it."""
    from adapterworks.registry.releases.release import SERVABLE

    resolved = app.registry.resolve(app.look_for(ref))
    release = app.registry.release(resolved.digest)
    role = SERVABLE if release.servable is not None else release.trained
    folder = app.registry.checkout(resolved.digest, role)
    if as_json:
        values = {"name": resolved.name, "version": resolved.version, "digest": resolved.digest}
        printing.echo_json({**values, "role": role, "folder": str(folder)})
    else:
        click.echo(str(folder))


def _from_oci(app: App, source: str, options: Options, *, plain_http: bool) -> Pulled:
    from adapterworks.manifests.errors import InvalidInput
    from adapterworks.registry.remotes.arriving import arrive
    from adapterworks.registry.remotes.oci.client import Client
    from adapterworks.registry.remotes.oci.held import OciRelease
    from adapterworks.registry.remotes.oci.names import parse_oci

    if options.base or options.quantization or options.rename or options.fingerprint:
        raise InvalidInput(
            "what an OCI registry holds was pushed by adapterworks: its record says its base, and "
            "it brings its own fingerprint",
            hint=f"adapters pull {source}",
        )
    wanted, scratch = parse_oci(source), app.settings.home / "tmp"
    with Client(wanted, plain_http=plain_http) as client:
        held = OciRelease(client, wanted, scratch)
        if wanted.digest is None:
            printing.note(f"{wanted} is manifest {held.revision}")
        pulled = arrive(
            app.registry,
            held,
            who=app.settings.who,
            scratch=scratch,
            find_base=app.bases.find,
            name=options.name,
            alias=options.alias,
        )
    _say_what_proves_it(app, pulled)
    return pulled


def _say_what_proves_it(app: App, pulled: Pulled) -> None:
    """A release whose fingerprint is not here looks like any other, until a gateway refuses it."""
    release = app.registry.release(pulled.published.digest)
    if release.servable is None:
        return
    if "fingerprint.json" not in release.files:
        printing.note("it brings no fingerprint, so nothing proves it")
    elif "fingerprint.json" not in pulled.withheld:
        return
    printing.note('a gateway serves it only under `trust.proof = "warn"` or "off"')


def _from_hub(app: App, source: str, options: Options) -> Pulled:
    from adapterworks.manifests.errors import InvalidInput
    from adapterworks.manifests.refs import check_name
    from adapterworks.registry.remotes.arriving import Pulled
    from adapterworks.registry.remotes.hub.client import Hub
    from adapterworks.registry.remotes.hub.layout import RECORD
    from adapterworks.registry.remotes.hub.names import HubSource, parse_source
    from adapterworks.registry.remotes.hub.pull import pull

    hub, wanted = Hub(), parse_source(source)
    state = hub.state(wanted)
    if not wanted.is_commit:
        printing.note(f"{wanted} is commit {state.commit}")
    pushed, name, base = RECORD in state.files, options.name, options.base
    if pushed and (base or options.quantization or options.rename or options.fingerprint):
        raise InvalidInput(
            f"`{state.repository}` was pushed by adapterworks: its record says its base, and it "
            "brings its own fingerprint",
            hint=f"adapters pull {state.repository}@{wanted.revision}",
        )
    if name is not None:
        app.registry.protection.require_movable(check_name(name), options.alias)
    if pushed:
        pulled = pull(
            app.registry,
            hub,
            state,
            who=app.settings.who,
            scratch=app.settings.home / "tmp",
            find_base=app.bases.find,
            name=name,
            alias=options.alias,
        )
        _say_what_proves_it(app, pulled)
        return pulled
    if name is None or base is None:
        raise InvalidInput(
            f"`{state.repository}` was not pushed by adapterworks, so it is an import",
            hint=f"adapters pull {state.repository}@{wanted.revision} --as NAME --base BASE",
        )
    from adapterworks.cli.import_ import run_import, warn

    if options.fingerprint:
        require("build", "`adapters pull --fingerprint`")
    imported = run_import(
        app,
        str(HubSource(state.repository, state.commit)),
        name=name,
        base=base,
        quantization=options.quantization or "none",
        alias=options.alias,
        rename=options.rename,
        fingerprint=options.fingerprint,
    )
    warn(app, imported)
    return Pulled(imported.published, state.repository, state.commit)
