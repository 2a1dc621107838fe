"""`adapters push`: a release becomes a commit and a tag on the Hub."""

from __future__ import annotations

from dataclasses import asdict

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_ref


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.option("--to", "repository", help="The repository, org/name (default: `[publish] hub`).")
@click.option(
    "--private/--public",
    default=True,
    help="Whether anybody may see it (default: private); a public repository is refused unless "
    "--public, each time.",
)
@click.option(
    "--withhold", multiple=True, metavar="PATTERN", help="Leave these files of the release out too."
)
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Push these although they tell of rows (beside `[publish] include`).",
)
@click.option("--expect", metavar="COMMIT", help="Push over this commit of somebody else.")
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
    as_json: bool,
) -> None:
    """Push a release to the Hugging Face Hub.

    One commit and the tag v<version>: the PEFT adapter at the root, the model card with metadata,
    report, lock and record. Pushing again commits nothing. The token is the one of `hf auth login`
    or HF_TOKEN; HF_ENDPOINT names another Hub.

    Private unless --public says otherwise, and who may see the repository is said before anything
    is sent. Files that tell of rows or of local files (predictions.jsonl, fingerprint.json with
    probes from rows, adapter.lock) stay here, unless `[publish] include` or --include names them.
    The record keeps their digests, so the release verifies there too; the output says what stayed.
    A record of an older version that names a path of this machine is refused.

    \b
    Example:
      adapters push medical@3 --to org/medical-lora
      adapters push medical@3 --to org/medical-lora --public --withhold "plots/*"
    """
    from adapterworks.manifests.errors import InvalidInput
    from adapterworks.registry.remotes.hub.client import Hub
    from adapterworks.registry.remotes.hub.names import parse_source
    from adapterworks.registry.remotes.hub.push import push

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
    pushed = push(
        registry,
        Hub(),
        resolved,
        parse_source(repository).repository,
        who=app.settings.who,
        scratch=app.settings.home / "tmp",
        private=private,
        expect=expect,
        withhold=withhold,
        include=include,
        say=lambda line: click.echo(printing.harmless(line), err=True),
    )
    if as_json:
        printing.echo_json(asdict(pushed))
        return
    done = "pushed" if pushed.created else "already there:"
    click.echo(
        f"{done} {pushed.name}@{pushed.version} at {pushed.repository} {pushed.tag} "
        f"(commit {pushed.commit})"
    )
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
