"""Pull: a commit that was pushed by us becomes the same release here.

    resolve → record → files by digest → safety checks → publish

Invariant: the release's digest is the record's, so what was pulled is what was pushed, byte for
byte, but for files that the repository says it lacks; and what was pulled was checked as a
stranger's adapter is, because a record proves only that bytes are consistent, not harmless.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import Conflict, IntegrityError
from adapterworks.manifests.refs import check_name
from adapterworks.registry.bases.store import Base
from adapterworks.registry.imports.release import check_named, check_release
from adapterworks.registry.index import log, lookup
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Parent, Release
from adapterworks.registry.releases.scratch import scratch_folder
from adapterworks.registry.releases.types import Published
from adapterworks.registry.remotes.hub.absent import fetch_absent
from adapterworks.registry.remotes.hub.client import Hub, RepoState
from adapterworks.registry.remotes.hub.layout import layout
from adapterworks.registry.remotes.hub.names import HubSource
from adapterworks.registry.remotes.hub.record import fetch_record, parse_record
from adapterworks.registry.remotes.hub.signatures import fetch_late, fetch_signatures

KIND = "pull"


@dataclass(frozen=True, slots=True)
class Pulled:
    """The version here, the commit it came from, and the files whose bytes did not come."""

    published: Published
    repository: str
    commit: str
    withheld: tuple[str, ...] = ()


def pull(
    registry: Registry,
    hub: Hub,
    state: RepoState,
    *,
    who: str,
    scratch: Path,
    find_base: Callable[[str], Base | None],
    name: str | None = None,
    alias: str | None = None,
) -> Pulled:
    """Pull the release at `state` (a commit that has a record).

    Args:
        find_base: the prepared base with a digest, if it is here: then shapes are checked too.
        name: another name for it here. The name is part of the record, so the digest differs then.

    Raises:
        Conflict: its name exists here and it is nobody's that we know; `name` says it is meant.
        IntegrityError: a file is not what the record says.
        ImportRefused: a file is not harmless.
    """
    release = parse_record(fetch_record(hub, state, scratch), state.repository)
    source = str(HubSource(state.repository, state.commit))
    renamed = name is not None and name != release.name
    taken = _renamed(release, check_name(name), state, source) if name and renamed else release
    check_named(release)
    _check_name(registry, hub, state, taken, asked=name is not None)
    registry.require_movable(taken.name, alias)
    stated = fetch_absent(hub, state, release, scratch)
    with scratch_folder(scratch, "pull") as temporary:
        folder = temporary / "release"
        withheld = _assemble(hub, state, release, stated, temporary / "download", folder)
        check_release(folder, release, find_base(release.base.digest), absent=withheld)
        published = registry.adopt(
            folder, taken, withheld=withheld, alias=alias, who=who, why=f"pulled from {source}"
        )
    if not renamed:  # they are of the record that was pushed
        main = hub.state(HubSource(state.repository))
        bundles = fetch_late(hub, main, published.digest, scratch)
        bundles |= fetch_signatures(hub, state, scratch)
        registry.receive_signatures(published.digest, bundles, who=who)
    registry.note(
        published.name,
        published.version,
        KIND,
        who=who,
        digest=published.digest,
        repository=state.repository,
        endpoint=hub.endpoint,
        commit=state.commit,
        withheld=sorted(withheld),
    )
    return Pulled(published, state.repository, state.commit, tuple(sorted(withheld)))


def _check_name(
    registry: Registry, hub: Hub, state: RepoState, release: Release, *, asked: bool
) -> None:
    """Refuse a name that is ours already, unless it was asked for or is known to be theirs too.

    Raises:
        Conflict: a stranger's record would become the next version of a name that exists here.
    """
    with registry.database.read() as connection:
        if asked or lookup.find_live(connection, release.digest) is not None:
            return
        if not lookup.is_name(connection, release.name):
            return
        events = [*log.every(connection, release.name, kinds=("push", KIND))]
    here = {"repository": state.repository, "endpoint": hub.endpoint}
    if not any(here.items() <= event.data.items() for event in events):
        raise Conflict(
            f"its record says `{release.name}`, which exists here, and nothing was pushed to or "
            f"pulled from `{state.repository}` under that name",
            hint=f"adapters pull {state.repository}@{state.commit} --as ANOTHER, or `--as "
            f"{release.name}` to make it the next version",
        )


def _renamed(release: Release, name: str, state: RepoState, source: str) -> Release:
    """The same files under another name, which is another record: a child of the one pulled."""
    provenance = release.provenance.model_copy(
        update={"made": "copied", "source": source, "revision": state.commit}
    )
    original = Parent(relation="copy", digest=release.digest, ref=f"{release.name} at {source}")
    draft = release.to_draft(
        name=name, provenance=provenance, parents=(original,), created_by=release.created_by
    )
    return Release.from_draft(draft, release.files)


def _assemble(
    hub: Hub,
    state: RepoState,
    release: Release,
    stated: dict[str, str],
    downloads: Path,
    folder: Path,
) -> dict[str, str]:
    """Download each digest once and copy it to every path of the release that has it.

    Returns the paths that the repository says it lacks, and does, with what it says.
    """
    withheld: dict[str, str] = {}
    said = {release.files[path].digest: why for path, why in stated.items()}
    places: dict[str, list[str]] = {}
    for path, entry in release.files.items():
        places.setdefault(entry.digest, []).append(path)
    for target, path in layout(release).items():
        entry = release.files[path]
        if target not in state.files and entry.digest in said:
            withheld |= dict.fromkeys(places[entry.digest], said[entry.digest])
            continue
        if target not in state.files:
            raise IntegrityError(
                f"`{state.repository}` at {state.commit[:12]} has no `{target}`, its record "
                f"names it as `{path}`"
            )
        downloaded = hub.download(state, target, downloads, limit=entry.size)
        if downloaded.stat().st_size != entry.size or digest_file(downloaded) != entry.digest:
            raise IntegrityError(
                f"`{target}` of `{state.repository}` at {state.commit[:12]} is not what its "
                f"record says ({entry.digest})",
                hint="pull the tag that was pushed; somebody changed the file since",
            )
        for place in places[entry.digest]:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(downloaded, folder / place)
    return withheld
