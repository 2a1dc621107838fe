"""Push: a release becomes one commit on `main` and a tag; the commit goes into the release's log.

    look → (create) → commit with parent → tag → log

What leaves and what stays is decided by `adapterworks.registry.remotes.leaving`; the repository
says what it lacks in `adapterworks/absent.json`.

Invariants: a release that is on the Hub is not committed again; a branch that somebody else moved
is never written over. A push that was killed is finished by the next one: each step is looked up
before it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import Conflict, Refused
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.pushes import read_push
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.types import Resolved
from adapterworks.registry.remotes import delivering
from adapterworks.registry.remotes.absent import write_absent
from adapterworks.registry.remotes.delivering import Delivered
from adapterworks.registry.remotes.hub.card import build_card
from adapterworks.registry.remotes.hub.client import Hub, RepoState
from adapterworks.registry.remotes.hub.layout import ABSENT, ATTRIBUTES, CARD, RECORD, layout
from adapterworks.registry.remotes.hub.names import HubSource
from adapterworks.registry.remotes.hub.record import fetch_record
from adapterworks.registry.remotes.hub.signatures import is_late, late_files, signature_files
from adapterworks.registry.remotes.leaving import Parcel, same_bytes
from adapterworks.registry.remotes.pushed import Pushed, pushes

_SEEN = {True: "private", False: "PUBLIC: anybody may read what is pushed"}


def push(
    registry: Registry,
    hub: Hub,
    resolved: Resolved,
    repository: str,
    *,
    who: str,
    scratch: Path,
    private: bool = True,
    expect: str | None = None,
    withhold: Sequence[str] = (),
    include: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Pushed:
    """Push a version to `org/name`.

    Args:
        scratch: a folder for temporary files.
        private: create the repository private; an existing public one is refused.
        expect: the commit `main` is known to be at, if somebody else put it there.
        withhold: patterns of files to leave out too.
        include: patterns of files to push although they tell of rows (`private.py`).
        say: told who may see the repository, before anything is sent.

    Raises:
        InvalidInput: a pattern means weights, or something that the record withholds.
        Conflict: `main` is not where our last push (or `expect`) left it, or the tag is taken.
        Refused: the token may not write there, or the repository is public.
    """
    last = _last_push(registry, hub, resolved.name, repository)
    destination = HubRepository(hub, repository, scratch, expect=expect, last=last)
    return delivering.push(
        registry,
        destination,
        resolved,
        who=who,
        private=private,
        withhold=withhold,
        include=include,
        say=say,
    )


@dataclass(frozen=True, slots=True)
class HubRepository:
    """A repository that takes releases; see `delivering.Destination`.

    Attributes:
        scratch: a folder for temporary files.
        expect: the commit `main` is known to be at, if somebody else put it there.
        last: the commit that the last push from here left it at.
    """

    hub: Hub
    repository: str
    scratch: Path
    expect: str | None = None
    last: str | None = None

    def deliver(self, parcel: Parcel, *, private: bool, say: Callable[[str], None]) -> Delivered:
        """See `Destination.deliver`."""
        return _deliver(self, parcel, private, say)


def _deliver(
    place: HubRepository, parcel: Parcel, private: bool, say: Callable[[str], None]
) -> Delivered:
    hub, repository, release, tag = place.hub, place.repository, parcel.release, parcel.tag
    head = hub.find(repository)
    seen = private if head is None else head.private
    say(f"{repository} {'will be' if head is None else 'is'} {_SEEN[seen]}")
    if head is None:
        parcel.require_portable()
        hub.create(repository, private=private)
        head = hub.state(HubSource(repository))
    if private and not head.private:
        raise Refused(
            f"`{repository}` is public, a private push was asked for",
            hint="make it private in its settings, push elsewhere, or say so: `--public`",
        )
    there = _find(hub, head, release, tag, place.scratch)
    created = there is None
    if there is None:
        parcel.require_portable()
        _check_head(head, place.last, place.expect)
        there = _commit(hub, head, parcel)
    if hub.tag(repository, tag) is None:
        hub.create_tag(repository, tag, there)
    held = hub.state(HubSource(repository, there)).files
    absent = {path for target, path in layout(release).items() if target not in held}
    absent |= same_bytes(release, absent)
    late = late_files(parcel.signatures, release.digest, held)
    late = {path: bundle for path, bundle in late.items() if path not in head.files}
    later = None
    if late and not created:
        later = _sign_late(place, parcel, there, head, late, say)
    return Delivered(
        repository=repository,
        endpoint=hub.endpoint,
        commit=there,
        tag=tag,
        url=f"{hub.endpoint}/{repository}/tree/{there}",
        created=created,
        absent=absent,
        later=later,
    )


def _sign_late(
    place: HubRepository,
    parcel: Parcel,
    there: str,
    head: RepoState,
    late: Mapping[str, bytes],
    say: Callable[[str], None],
) -> str | None:
    """Push the signatures that were made since; the release's own commit and tag stay.

    Args:
        there: the release's commit. Where `main` still is at it, nobody else was there since.

    Returns:
        the commit; None if `main` is where somebody else left it.
    """
    if head.commit not in (place.last, there):
        say(f"its newer signatures stayed here: `main` is at {head.commit[:12]}, which is not ours")
        return None
    message = f"signatures of {parcel.title}"
    commit = place.hub.commit(
        head.repository, add=dict(late), delete=[], parent=head.commit, message=message
    )
    say(f"pushed {len(late)} signatures that were made since")
    return commit


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


def _commit(hub: Hub, head: RepoState, parcel: Parcel) -> str:
    release, add = parcel.release, dict[str, Path | bytes]()
    for target, path in layout(release).items():
        if path not in parcel.left_out:
            add[target] = parcel.file(path)
    carded = CARD in release.files and CARD not in parcel.left_out
    body = parcel.file(CARD) if carded else b""
    text = body.decode() if isinstance(body, bytes) else body.read_text()
    add[CARD] = build_card(release, text, repository=head.repository).encode()
    add[RECORD] = release.to_bytes()
    add |= signature_files(parcel.signatures)
    if parcel.left_out:
        add[ABSENT] = write_absent(parcel.left_out)
    return hub.commit(
        head.repository,
        add=add,
        delete=sorted(
            path for path in head.files.keys() - add.keys() - {ATTRIBUTES} if not is_late(path)
        ),
        parent=head.commit,
        message=parcel.title,
    )


def _last_push(registry: Registry, hub: Hub, name: str, repository: str) -> str | None:
    for event in pushes(registry, name):
        push = read_push(event)
        if push is not None and (push.repository, push.endpoint) == (repository, hub.endpoint):
            return push.commit
    return None
