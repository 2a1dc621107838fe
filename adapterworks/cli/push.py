"""`adapters push`: a release becomes a commit on the Hub, or a manifest in an OCI registry."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_ref

if TYPE_CHECKING:
    from adapterworks.registry.releases.types import Resolved
    from adapterworks.registry.remotes.pushed import Pushed


@dataclass(frozen=True, slots=True)
class Options:
    """How a push was asked for; see the command's help."""

    private: bool
    expect: str | None
    aliases: bool
    plain_http: bool
    withhold: tuple[str, ...]
    include: tuple[str, ...]


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.option(
    "--to",
    "repository",
    help="The repository: org/name of the Hub, or oci://host/org/name:tag (default: "
    "`[publish] hub`).",
)
@click.option(
    "--private/--public",
    default=True,
    help="Whether anybody may see it (default: private); a public repository is refused unless "
    "--public, each time.",
)
@click.option("--withhold", multiple=True, metavar="PATTERN", help="Leave out these files too.")
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Push these files too, although they reveal rows (besides `[publish] include`).",
)
@click.option("--expect", metavar="COMMIT", help="Hub: push over this commit of somebody else.")
@click.option(
    "--aliases", is_flag=True, help="OCI: move the tags of this version's aliases to it too."
)
@click.option(
    "--plain-http", is_flag=True, help="OCI: the registry, on another machine, has no TLS."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App,
    ref: str,
    repository: str | None,
    private: bool,
    withhold: tuple[str, ...],
    include: tuple[str, ...],
    expect: str | None,
    aliases: bool,
    plain_http: bool,
    as_json: bool,
) -> None:
    """Push a release to the Hugging Face Hub or to an OCI registry.

    One commit and the tag v<version>: the PEFT adapter at the root, the model card with metadata,
    report, lock and record. Pushing again commits nothing. The token is the one of `hf auth login`
    or HF_TOKEN; HF_ENDPOINT names another Hub.

    Private unless --public says otherwise, and who may see the repository is said before anything
    is sent. Files that reveal rows or local files (predictions.jsonl, fingerprint.json with
    probes from rows, adapter.lock) stay here, unless `[publish] include` or --include names them.
    The record keeps their digests, so the release verifies there too; the output says what stayed.
    A record of an older version that names a path of this machine is refused.

    In an OCI registry it is a manifest under the tag v<version>, if the name has no other; its
    signatures, SBOM and provenance refer to it. Who we are there is what `docker login` left.
    Registries do not tell who may read: somebody who is not logged in is tried.

    \b
    Example:
      adapters push medical@3 --to org/medical-lora
      adapters push medical@3 --to org/medical-lora --public --withhold "plots/*"
      adapters push medical@3 --to oci://registry.example/org/medical:v3
    """
    from adapterworks.manifests.errors import InvalidInput

    registry = app.registry
    resolved = registry.resolve(app.ref(ref))
    publish = registry.release(resolved.digest).declared("publish")
    if private and publish.get("private") is False:
        printing.note(
            "its manifest says `private = false`; that alone makes nothing public: --public"
        )
    included = publish.get("include")
    if isinstance(included, list):
        include += tuple(pattern for pattern in included if isinstance(pattern, str))
    repository = repository or publish.get("hub")
    if repository is None:
        raise InvalidInput(
            f"`{ref}` does not say where to: its manifest has no `[publish] hub`",
            hint=f"adapters push {ref} --to org/{resolved.name}",
        )
    send = _to_oci if repository.startswith("oci://") else _to_hub
    if send is _to_oci and expect is not None:
        raise InvalidInput("`--expect` names a commit of the Hub")
    if send is _to_hub and (aliases or plain_http):
        raise InvalidInput("`--aliases` and `--plain-http` are of OCI registries")
    pushed = send(
        app,
        resolved,
        repository,
        Options(
            private=private,
            expect=expect,
            aliases=aliases,
            plain_http=plain_http,
            withhold=withhold,
            include=include,
        ),
    )
    if as_json:
        printing.echo_json(asdict(pushed))
        return
    done = "pushed" if pushed.created else "already there:"
    there = f"{pushed.repository} {pushed.tag} (commit {pushed.commit})"
    if send is _to_oci:
        there = pushed.url
    click.echo(f"{done} {pushed.name}@{pushed.version} at {there}")
    if pushed.withheld:
        printing.note(
            f"stayed here: {' '.join(pushed.withheld)} (--include takes what tells of rows along)"
        )
    if pushed.tells:
        click.echo(
            f"went there, and tells of rows or this machine: {', '.join(pushed.tells)}", err=True
        )
    if pushed.exposed:
        printing.note(
            f"warning: already there since an earlier push: {' '.join(pushed.exposed)}; delete the "
            "commit there if it should not be"
        )


def _to_hub(app: App, resolved: Resolved, repository: str, options: Options) -> Pushed:
    from adapterworks.registry.remotes.hub.client import Hub
    from adapterworks.registry.remotes.hub.names import parse_source
    from adapterworks.registry.remotes.hub.push import push

    return push(
        app.registry,
        Hub(),
        resolved,
        parse_source(repository).repository,
        who=app.settings.who,
        scratch=app.settings.home / "tmp",
        private=options.private,
        expect=options.expect,
        withhold=options.withhold,
        include=options.include,
        say=_say,
    )


def _to_oci(app: App, resolved: Resolved, repository: str, options: Options) -> Pushed:
    from adapterworks.manifests.errors import InvalidInput
    from adapterworks.registry.remotes.oci.client import Client
    from adapterworks.registry.remotes.oci.names import parse_oci
    from adapterworks.registry.remotes.oci.push import push

    name = parse_oci(repository)
    if name.digest is not None:
        raise InvalidInput(f"`{name}` names what is there; a push names a tag, or nothing")
    row = app.registry.version(resolved.name, resolved.version)
    with Client(name, plain_http=options.plain_http, push=True) as client:
        return push(
            app.registry,
            client,
            resolved,
            name.tag,
            who=app.settings.who,
            scratch=app.settings.home / "tmp",
            private=options.private,
            aliases=row.aliases if options.aliases else (),
            withhold=options.withhold,
            include=options.include,
            say=_say,
        )


def _say(line: str) -> None:
    click.echo(printing.harmless(line), err=True)
