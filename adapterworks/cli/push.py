"""`adapters push`: a release becomes a commit and a tag on the Hub."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from adapterworks.app import App


@click.command()
@click.argument("ref")
@click.option("--to", "repository", help="The repository, org/name (default: `[publish] hub`).")
@click.option("--private", is_flag=True, help="Create it private; refuse a public one.")
@click.option("--expect", metavar="COMMIT", help="Push over this commit of somebody else.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def command(
    app: App, ref: str, repository: str | None, private: bool, expect: str | None, as_json: bool
) -> None:
    """Push a release to the Hugging Face Hub.

    One commit and the tag v<version>: the PEFT adapter at the root, the model card with metadata,
    report, lock and record. Pushing again commits nothing. The token is the one of `hf auth login`
    or HF_TOKEN; HF_ENDPOINT names another Hub.

    \b
    Example:
      adapters push medical@3 --to org/medical-lora --private
    """
    from adapterworks.manifests.errors import InvalidInput
    from adapterworks.registry.remotes.hub.client import Hub
    from adapterworks.registry.remotes.hub.names import parse_source
    from adapterworks.registry.remotes.hub.push import push

    registry = app.registry
    resolved = registry.resolve(ref)
    if repository is None:
        publish = (registry.release(resolved.digest).manifest or {}).get("publish", {})
        repository = publish.get("hub")
        private = private or bool(repository and publish.get("private", True))
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
    )
    if as_json:
        click.echo(json.dumps(asdict(pushed), indent=2))
        return
    done = "pushed" if pushed.created else "already there:"
    click.echo(
        f"{done} {pushed.name}@{pushed.version} at {pushed.repository} {pushed.tag} "
        f"(commit {pushed.commit})"
    )
