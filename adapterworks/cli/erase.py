"""`adapters erase`: the bytes of one file go for good; the release's record keeps their digest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.confirming import confirm, say_unreached
from adapterworks.cli.erase_rows import erase_rows
from adapterworks.cli.erase_tenant import PREFIX, erase_tenant

if TYPE_CHECKING:
    from adapterworks.registry.lifecycle.erase import Erasure


@click.command()
@click.argument("what")
@click.argument("parts", nargs=-1, metavar="[PATH|SPLIT:ROW…]")
@click.option(
    "--why",
    "reason",
    required=True,
    help="Reason, for the log and for anyone who asks for the file.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; needs --yes.")
@click.pass_obj
def command(
    app: App, what: str, parts: tuple[str, ...], reason: str, yes: bool, as_json: bool
) -> None:
    """Erase a file's bytes, keeping its digest.

    WHAT is a release with the PATH of one of its files; the digest of the bytes (sha256:…); a
    dataset with row numbers (the rows are removed from every dataset that has them, and every
    release trained on them is listed); or tenant:NAME (all its captured answers with their key, its
    files and uploads, and the answers of its batches). Every release that has these bytes loses
    them; records, digests and signatures stay valid. Copies under ADAPTERS_HOME are erased too.
    Files needed for serving are refused while the release is live (`adapters delete` it first). Run
    it again to finish an interrupted erasure. Only these bytes are erased: another file with the
    same person's text has to be erased separately.

    \b
    Example:
      adapters erase dataset:medical@3 train:17 train:204 --why "a patient withdrew consent"
      adapters erase medical@3 predictions.jsonl --why "a patient withdrew consent"
      adapters erase tenant:acme --why "end of contract"
      adapters erase sha256:9f86d081884c… --why "a patient withdrew consent" --yes
    """
    from adapterworks.manifests.errors import InvalidInput, NotFound

    if not reason.strip():
        raise InvalidInput("`--why` is empty", hint='write why: --why "consent withdrawn"')
    if parts and what.startswith((PREFIX, "sha256:")):
        raise InvalidInput(
            f"`{what}` is erased whole, and `{parts[0]}` would not be looked at",
            hint=f"adapters erase {what} --why …",
        )
    if what.startswith(PREFIX):
        erase_tenant(app, what, reason=reason, yes=yes, as_json=as_json)
        return
    if what.startswith("dataset:"):
        erase_rows(app, what, parts, reason=reason, yes=yes, as_json=as_json)
        return
    path = parts[0] if parts else None
    if len(parts) > 1:
        raise InvalidInput("one file at a time", hint=f"adapters erase {what} {path} --why …")
    if what.startswith("sha256:"):
        blob = what
    else:
        resolved = app.registry.resolve(app.ref(what))
        release = app.registry.release(resolved.digest)
        if path is None or path not in release.files:
            raise NotFound(
                f"`{resolved}` has no file `{path}`" if path else "which file is to be erased?",
                hint=f"see its files: adapters show {resolved}",
            )
        blob = release.files[path].digest
    found = app.registry.upkeep.look_at_erasure(blob)
    if not as_json:
        _show(found)
    confirm("Erase these bytes for good?", yes=yes, what="erased", as_json=as_json)
    done = app.registry.upkeep.erase(blob, who=app.settings.who, why=reason)
    if as_json:
        copies = [str(copy) for copy in done.copies]
        printing.echo_json({**_table(done), "copies": copies, "reviews": list(done.reviews)})
        return
    again = "" if done.created else " (they had been before)"
    where = f"under {app.settings.home}" if app.registry.has_index else "there and here"
    click.echo(
        f"erased {printing.size(done.size)} from the blob store and "
        f"{len(done.copies)} copies {where}{again}"
    )
    for name in done.reviews:
        printing.note(f"review `{name}` had these answers: erased with its votes")
    for place in done.pushed:
        printing.note(f"still at {place}: delete them there")
    say_unreached(app)


def _show(found: Erasure) -> None:
    click.echo(f"{found.blob}  {printing.size(found.size)}")
    printing.echo_table(
        ("release", "file", "state"),
        (
            (holder, holder.path, "deleted" if holder.deleted else "live")
            for holder in found.holders
        ),
    )
    for place in found.pushed:
        click.echo(f"pushed to {place}")


def _table(done: Erasure) -> dict[str, object]:
    return {
        "blob": done.blob,
        "size": done.size,
        "created": done.created,
        "holders": [{"ref": str(holder), "path": holder.path} for holder in done.holders],
        "pushed": list(done.pushed),
    }
