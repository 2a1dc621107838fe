"""`adapters delete`: a version becomes a tombstone; its bytes go at the next gc, or at once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterworks.app import App
from adapterworks.cli import printing
from adapterworks.cli.completion import complete_ref
from adapterworks.cli.confirming import confirm, say_unreached
from adapterworks.manifests.errors import NotFound, Refused

if TYPE_CHECKING:
    from adapterworks.registry.lifecycle.purge import Purge


@click.command()
@click.argument("ref", shell_complete=complete_ref)
@click.option("--why", default="", help="Reason, for the log and for anyone who asks for it later.")
@click.option("--with-aliases", is_flag=True, help="Also remove the aliases that point to it.")
@click.option("--purge", is_flag=True, help="Erase its bytes at once, for good; needs --why.")
@click.option("--yes", is_flag=True, help="Do not ask; scripts need it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; needs --yes.")
@click.pass_obj
def command(
    app: App, ref: str, why: str, with_aliases: bool, purge: bool, yes: bool, as_json: bool
) -> None:
    """Delete a version, leaving a tombstone.

    The version number is never reused, and its signatures no longer count. A version that an alias
    points to is refused, unless --with-aliases removes its aliases too; then they serve nobody.

    Its bytes go with a later `adapters gc`, after the grace period. With --purge, bytes that no
    other release uses are erased at once, from the store and from ADAPTERS_HOME, with reviews of
    its answers and its build folders there, and are refused from then on. It lists which pushes,
    later releases, gateways and builds still have some. --purge also works on a deleted version,
    and finishes a purge that was interrupted.

    \b
    Example:
      adapters delete medical@2 --why "trained on the wrong split" --yes
      adapters delete medical@2 --with-aliases --purge --why "a patient withdrew consent" --yes
    """
    from adapterworks.manifests.errors import InvalidInput

    parsed = app.ref(ref)
    if parsed.alias is not None:
        raise InvalidInput(f"`{ref}` does not name one version", hint=f"write `{parsed.name}@N`")
    who = app.settings.who
    if not purge:
        resolved = app.registry.resolve(parsed)
        confirm(f"Delete {resolved}?", yes=yes, what="deleted", as_json=as_json)
        app.registry.delete(
            resolved.name, resolved.version, with_aliases=with_aliases, who=who, why=why
        )
        if as_json:
            printing.echo_json({"deleted": str(resolved), "digest": resolved.digest})
        else:
            click.echo(f"deleted {resolved}; its bytes go at the next gc")
        return
    if not why.strip():
        raise InvalidInput("`--purge` needs `--why`", hint='write why: --why "consent withdrawn"')
    version = parsed.version or app.registry.resolve(parsed).version
    if not as_json:
        _show(app.registry.upkeep.look_at_purge(parsed.name, version))
    confirm("Erase these bytes for good?", yes=yes, what="deleted", as_json=as_json)
    builds = _idle_builds(app, parsed.name, version)
    done = app.registry.upkeep.purge(
        parsed.name, version, with_aliases=with_aliases, who=who, why=why
    )
    _empty(builds)  # last: a release that is not purged keeps them
    if as_json:
        copies = [str(copy) for copy in done.copies]
        values = {**printing.plain(done), "copies": copies}
        printing.echo_json({"deleted": done.ref, "digest": done.digest, "purge": values})
        return
    where = f"under {app.settings.home}" if app.registry.has_index else "there"
    click.echo(
        f"deleted {done.ref}; erased {len(done.alone)} blobs ({printing.size(done.size)}) and "
        f"{len(done.copies)} copies {where}"
    )
    for name in done.reviews:
        printing.note(f"review `{name}` had its answers: erased with its votes")
    say_unreached(app)


def _idle_builds(app: App, name: str, version: int) -> list[Path]:
    """Folders of its builds on this machine, which hold rows while they build and what was sampled
    afterwards; none where another release has the same training.

    Raises:
        Conflict: one of them is being built in.
    """
    builds = app.settings.home / "builds"
    if not app.registry.has_index or not builds.is_dir():
        return []
    from adapterworks.builders.building.erased import builds_of, require_idle

    digest = app.registry.upkeep.look_at_purge(name, version).digest
    training = None
    with suppress(NotFound, Refused):  # purged before, and so is its record
        training = app.registry.release(digest).digests.get("train")
    if training is None:
        return []
    if any(one.digest != digest for one in app.registry.origins.find_stages("train", training)):
        return []
    folders = builds_of(builds, (), {training})
    require_idle(folders)
    return folders


def _empty(folders: list[Path]) -> None:
    if not folders:
        return
    from adapterworks.builders.building.erased import erase_builds

    erase_builds(folders)
    for folder in folders:
        printing.note(f"emptied, as a build of it: {folder}")


def _show(found: Purge) -> None:
    click.echo(f"{found.ref} {found.digest}")
    click.echo(f"{len(found.alone)} blobs are its alone: {printing.size(found.size)}")
    for told, entries in (
        ("stays, other releases have it", found.shared),
        ("stays where it was pushed", found.pushed),
        ("made from it", found.children),
        ("held now", found.held),
    ):
        for entry in entries:
            click.echo(f"{told}: {printing.harmless(entry)}")
