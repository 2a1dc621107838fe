"""Push: a release becomes one commit on `main` and a tag; the commit goes into the release's log.

    look → (create) → commit with parent → tag → log

Invariants: a release that is on the Hub is not committed again; a branch that somebody else moved
is never written over. A push that was killed is finished by the next one: each step is looked up
before it is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import Conflict, Refused
from adapterworks.registry.index import log
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import ADAPTER, FULL, SERVABLE, Release
from adapterworks.registry.releases.types import Event, Resolved
from adapterworks.registry.remotes.hub.card import build_card
from adapterworks.registry.remotes.hub.client import Hub, RepoState
from adapterworks.registry.remotes.hub.layout import ATTRIBUTES, CARD, RECORD, layout
from adapterworks.registry.remotes.hub.names import HubSource
from adapterworks.registry.remotes.hub.record import fetch_record

KIND = "push"
_ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class Pushed:
    """Where the release is now; `created` says whether this call committed it."""

    name: str
    version: int
    digest: str
    repository: str
    commit: str
    tag: str
    url: str
    created: bool


def push(
    registry: Registry,
    hub: Hub,
    resolved: Resolved,
    repository: str,
    *,
    who: str,
    scratch: Path,
    private: bool = False,
    expect: str | None = None,
) -> Pushed:
    """Push a version to `org/name`.

    Args:
        scratch: a folder for temporary files.
        private: create the repository private; an existing public one is refused.
        expect: the commit `main` is known to be at, if somebody else put it there.

    Raises:
        Conflict: `main` is not where our last push (or `expect`) left it, or the tag is taken.
        Refused: the token may not write there, or the repository is public.
    """
    release = registry.release(resolved.digest)
    tag = f"v{resolved.version}"
    head = hub.find(repository)
    if head is None:
        hub.create(repository, private=private)
        head = hub.state(HubSource(repository))
    if private and not head.private:
        raise Refused(
            f"`{repository}` is public, a private push was asked for",
            hint="make it private in its settings, or push elsewhere",
        )
    there = _find(hub, head, release, tag, scratch)
    created = there is None
    if there is None:
        _check_head(head, _last_push(registry, hub, resolved.name, repository), expect)
        there = _commit(registry, hub, head, release, resolved)
    if hub.tag(repository, tag) is None:
        hub.create_tag(repository, tag, there)
    _note(registry, hub, resolved, repository, commit=there, tag=tag, who=who)
    return Pushed(
        name=resolved.name,
        version=resolved.version,
        digest=resolved.digest,
        repository=repository,
        commit=there,
        tag=tag,
        url=f"{hub.endpoint}/{repository}/tree/{there}",
        created=created,
    )


def _find(hub: Hub, head: RepoState, release: Release, tag: str, scratch: Path) -> str | None:
    """The commit this release is at already: under its tag, or at the head of a killed push."""
    tagged = hub.tag(head.repository, tag)
    if tagged is not None:
        state = hub.state(HubSource(head.repository, tagged))
        if _digest_at(hub, state, scratch) == release.digest:
            return tagged
        raise Conflict(
            f"`{head.repository}` has a tag `{tag}` for something else (commit {tagged[:12]})",
            hint="push to a repository of its own, or delete the tag there",
        )
    return head.commit if _digest_at(hub, head, scratch) == release.digest else None


def _digest_at(hub: Hub, state: RepoState, scratch: Path) -> str | None:
    if RECORD not in state.files:
        return None
    return digest_bytes(fetch_record(hub, state, scratch))


def _check_head(head: RepoState, last: str | None, expect: str | None) -> None:
    if head.commit == (expect or last):
        return
    if expect is None and last is None and head.files.keys() <= {ATTRIBUTES, CARD}:
        return  # as the Hub creates it
    known = f"our last push left it at {last[:12]}" if last else "it was not filled from here"
    if expect is not None:
        known = f"{expect[:12]} was expected"
    raise Conflict(
        f"`{head.repository}` has moved: `main` is at {head.commit[:12]}, {known}",
        hint=f"look at what is there (adapters pull {head.repository}), then push over it with "
        f"`--expect {head.commit}`",
    )


def _commit(
    registry: Registry, hub: Hub, head: RepoState, release: Release, resolved: Resolved
) -> str:
    add: dict[str, Path | bytes] = {}
    folders: dict[str, Path] = {}
    for target, path in layout(release).items():
        role, _, inside = path.partition("/")
        if inside and role in (ADAPTER, SERVABLE, FULL):
            if role not in folders:
                folders[role] = registry.checkout(release.digest, role)
            add[target] = folders[role] / inside
        else:
            add[target] = registry.read(release.digest, path)
    body = registry.read(release.digest, CARD).decode() if CARD in release.files else ""
    add[CARD] = build_card(release, body, repository=head.repository).encode()
    add[RECORD] = release.to_bytes()
    return hub.commit(
        head.repository,
        add=add,
        delete=sorted(head.files.keys() - add.keys() - {ATTRIBUTES}),
        parent=head.commit,
        message=f"{resolved.name}@{resolved.version}",
    )


def pushes(registry: Registry, name: str) -> list[Event]:
    """The pushes of a name, newest first: data has `repository`, `endpoint`, `commit`, `tag`."""
    with registry.database.read() as connection:
        return log.events(connection, name, kinds=(KIND,), limit=_ALL)


def _last_push(registry: Registry, hub: Hub, name: str, repository: str) -> str | None:
    for event in pushes(registry, name):
        if event.data["repository"] == repository and event.data["endpoint"] == hub.endpoint:
            return str(event.data["commit"])
    return None


def _note(
    registry: Registry,
    hub: Hub,
    resolved: Resolved,
    repository: str,
    *,
    commit: str,
    tag: str,
    who: str,
) -> None:
    """Record the commit, once."""
    data = {"repository": repository, "endpoint": hub.endpoint, "commit": commit, "tag": tag}
    for event in pushes(registry, resolved.name):
        if event.version == resolved.version and data.items() <= event.data.items():
            return
    registry.note(resolved.name, resolved.version, KIND, who=who, digest=resolved.digest, **data)
