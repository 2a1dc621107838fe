"""Pull: a commit that was pushed by us becomes the same release here.

    resolve → record → files by digest → safety checks → publish

Invariant: the release's digest is the record's, so what was pulled is what was pushed, byte for
byte; and what was pulled was checked as a stranger's adapter is, because a record proves only that
bytes are consistent, not that they are harmless.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import IntegrityError
from adapterworks.manifests.refs import check_name
from adapterworks.registry.bases.store import Base
from adapterworks.registry.imports.release import check_release
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Draft, Release
from adapterworks.registry.releases.scratch import scratch_folder
from adapterworks.registry.releases.types import Published
from adapterworks.registry.remotes.hub.client import Hub, RepoState
from adapterworks.registry.remotes.hub.layout import layout
from adapterworks.registry.remotes.hub.names import HubSource
from adapterworks.registry.remotes.hub.record import fetch_record, parse_record

KIND = "pull"


@dataclass(frozen=True, slots=True)
class Pulled:
    """The version here, and the commit it came from."""

    published: Published
    repository: str
    commit: str


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
        IntegrityError: a file is not what the record says.
        ImportRefused: a file is not harmless.
    """
    release = parse_record(fetch_record(hub, state, scratch), state.repository)
    source = str(HubSource(state.repository, state.commit))
    draft = Draft(**{field: getattr(release, field) for field in Draft.model_fields})
    if name is not None and name != release.name:
        draft = draft.model_copy(update={"name": check_name(name), "source": source})
    with scratch_folder(scratch, "pull") as temporary:
        folder = temporary / "release"
        _assemble(hub, state, release, temporary / "download", folder)
        check_release(folder, release, find_base(release.base.digest))
        published = registry.publish(
            folder, draft, alias=alias, who=who, why=f"pulled from {source}"
        )
    if draft.name == release.name and published.digest != release.digest:
        raise IntegrityError(
            f"`{state.repository}` was put together as {published.digest}, its record is "
            f"{release.digest}"
        )
    registry.note(
        published.name,
        published.version,
        KIND,
        who=who,
        digest=published.digest,
        repository=state.repository,
        endpoint=hub.endpoint,
        commit=state.commit,
    )
    return Pulled(published, state.repository, state.commit)


def _assemble(hub: Hub, state: RepoState, release: Release, downloads: Path, folder: Path) -> None:
    """Download each digest once and copy it to every path of the release that has it."""
    places: dict[str, list[str]] = {}
    for path, entry in release.files.items():
        places.setdefault(entry.digest, []).append(path)
    for target, path in layout(release).items():
        entry = release.files[path]
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
