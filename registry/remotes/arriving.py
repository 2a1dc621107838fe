"""A release that another place holds becomes the same release here.

    record → room → files by digest → safety checks → publish → signatures

Invariant: the release's digest is the record's, so what arrived is what was pushed, byte for byte,
but for files that the place says it lacks; and it was checked as a stranger's adapter is, because a
record proves only that bytes are consistent, not harmless.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adapterworks.manifests.errors import Conflict
from adapterworks.manifests.refs import check_name
from adapterworks.registry.bases.base import Base
from adapterworks.registry.imports.release import check_named, check_release
from adapterworks.registry.index import log, lookup
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.pushes import PUSH
from adapterworks.registry.releases.release import Parent, Release
from adapterworks.registry.releases.scratch import scratch_folder
from adapterworks.registry.releases.types import Published
from adapterworks.registry.remotes.held import Held
from adapterworks.registry.remotes.room import require_room_of
from adapterworks.registry.remotes.staging import assemble, stage_of

KIND = "pull"


@dataclass(frozen=True, slots=True)
class Pulled:
    """The version here, the commit or digest it came from, and the files whose bytes did not."""

    published: Published
    repository: str
    commit: str
    withheld: tuple[str, ...] = ()


def arrive(
    registry: Registry,
    held: Held,
    *,
    who: str,
    scratch: Path,
    find_base: Callable[[str], Base | None],
    name: str | None = None,
    alias: str | None = None,
) -> Pulled:
    """Take the release over.

    Args:
        scratch: a folder for what is fetched; a call that was killed is continued from there.
        find_base: the prepared base with a digest, if it is here: then shapes are checked too.
        name: another name for it here. The name is part of the record, so the digest differs then.

    Raises:
        Conflict: its name exists here and it is nobody's that we know; `name` says it is meant.
        IntegrityError: a file is not what the record says.
        ImportRefused: a file is not harmless.
        Refused: there is no room for it.
    """
    release = held.release
    renamed = name is not None and name != release.name
    taken = _renamed(held, check_name(name)) if name and renamed else release
    check_named(release, find_base(release.base.digest))
    _check_name(registry, held, taken, asked=name is not None)
    registry.protection.require_movable(taken.name, alias)
    stated = held.stated()
    with stage_of(held, scratch) as stage, scratch_folder(scratch, "pull") as temporary:
        require_room_of(held, stage, registry.blobs)
        folder = temporary / "release"
        folder.mkdir()
        withheld = assemble(held, release, stated, stage, folder)
        check_release(folder, release, find_base(release.base.digest), absent=withheld)
        published = registry.adopt(
            folder, taken, withheld=withheld, alias=alias, who=who, why=f"pulled from {held.where}"
        )
    if not renamed:  # they are of the record that was pushed
        registry.signatures.receive(published.digest, held.signatures(), who=who)
    registry.log.note(
        published.name,
        published.version,
        KIND,
        who=who,
        digest=published.digest,
        repository=held.repository,
        endpoint=held.endpoint,
        commit=held.revision,
        withheld=sorted(withheld),
    )
    return Pulled(published, held.repository, held.revision, tuple(sorted(withheld)))


def _check_name(registry: Registry, held: Held, release: Release, *, asked: bool) -> None:
    """Refuse a name that is ours already, unless it was asked for or is known to be theirs too.

    Raises:
        Conflict: a stranger's record would become the next version of a name that exists here.
    """
    if asked:
        return
    with registry.database.read() as connection:
        if lookup.find_live(connection, release.digest) is not None:
            return
        if not lookup.is_name(connection, release.name):
            return
        events = [*log.every(connection, release.name, kinds=(PUSH, KIND))]
    here = {"repository": held.repository, "endpoint": held.endpoint}
    if not any(here.items() <= event.data.items() for event in events):
        raise Conflict(
            f"its record says `{release.name}`, which exists here, and nothing was pushed to or "
            f"pulled from `{held.repository}` under that name",
            hint=f"adapters pull {held.source} --as ANOTHER, or `--as {release.name}` to make it "
            "the next version",
        )


def _renamed(held: Held, name: str) -> Release:
    """The same files under another name, which is another record: a child of the one pulled."""
    release = held.release
    provenance = release.provenance.model_copy(
        update={"made": "copied", "source": held.where, "revision": held.revision}
    )
    ref = f"{release.name} at {held.where}"
    original = Parent(relation="copy", digest=release.digest, ref=ref)
    draft = release.to_draft(
        name=name, provenance=provenance, parents=(original,), created_by=release.created_by
    )
    return Release.from_draft(draft, release.files)
