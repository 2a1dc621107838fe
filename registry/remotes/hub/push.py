"""Push: a release becomes one commit on `main` and a tag; the commit goes into the release's log.

    look → (create) → commit with parent → tag → log

What a push leaves out: files that the record withholds; those whose bytes are not here; those that
the caller names; and those that tell of rows or local files, unless they are named (`private.py`).
The repository says so in `adapterworks/absent.json`.

Invariants: a release that is on the Hub is not committed again; a branch that somebody else moved
is never written over. A push that was killed is finished by the next one: each step is looked up
before it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapterworks.manifests.digests import digest_bytes
from adapterworks.manifests.errors import Conflict, InvalidInput, Refused
from adapterworks.registry.index import log
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.absence import Absence
from adapterworks.registry.releases.release import ADAPTER, FULL, SERVABLE, Release
from adapterworks.registry.releases.roles import check_withheld, matching
from adapterworks.registry.releases.types import Event, Resolved
from adapterworks.registry.remotes.hub.absent import write_absent
from adapterworks.registry.remotes.hub.card import build_card
from adapterworks.registry.remotes.hub.client import Hub, RepoState
from adapterworks.registry.remotes.hub.layout import ABSENT, ATTRIBUTES, CARD, RECORD, layout
from adapterworks.registry.remotes.hub.names import HubSource
from adapterworks.registry.remotes.hub.private import local_text, private_files
from adapterworks.registry.remotes.hub.record import fetch_record
from adapterworks.registry.remotes.hub.signatures import is_late, late_files, signature_files

KIND = "push"
_SEEN = {True: "private", False: "PUBLIC: anybody may read what is pushed"}


@dataclass(frozen=True, slots=True)
class Pushed:
    """Where the release is now; `created` says whether this call committed it.

    Attributes:
        withheld: the files whose bytes are not there.
        exposed: those that this push would have left out, but that an earlier one took there.
        tells: what is there and tells of rows, in words.
    """

    name: str
    version: int
    digest: str
    repository: str
    commit: str
    tag: str
    url: str
    created: bool
    withheld: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    tells: tuple[str, ...] = ()


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
    release = registry.release(resolved.digest)
    absences = registry.absences(resolved.digest)
    held_back = private_files(registry, release)
    left_out = leave_out(release, absences, withhold, include, held_back)
    tag = f"v{resolved.version}"
    head = hub.find(repository)
    seen = private if head is None else head.private
    say(f"{repository} {'will be' if head is None else 'is'} {_SEEN[seen]}")
    if head is None:
        _refuse_local(release, include)
        hub.create(repository, private=private)
        head = hub.state(HubSource(repository))
    if private and not head.private:
        raise Refused(
            f"`{repository}` is public, a private push was asked for",
            hint="make it private in its settings, push elsewhere, or say so: `--public`",
        )
    there = _find(hub, head, release, tag, scratch)
    created = there is None
    if there is None:
        _refuse_local(release, include)
        _check_head(head, _last_push(registry, hub, resolved.name, repository), expect)
        there = _commit(registry, hub, head, release, resolved, left_out)
    if hub.tag(repository, tag) is None:
        hub.create_tag(repository, tag, there)
    held = hub.state(HubSource(repository, there)).files
    absent = {path for target, path in layout(release).items() if target not in held}
    absent |= _same_bytes(release, absent)
    _note(registry, hub, resolved, repository, commit=there, tag=tag, who=who, absent=absent)
    late = late_files(registry.all_signatures(release.digest), release.digest, held)
    late = {path: bundle for path, bundle in late.items() if path not in head.files}
    if late and not created:
        commit = _sign_late(registry, hub, resolved, head, late, say)
        if commit is not None:
            _note(
                registry, hub, resolved, repository, commit=commit, tag=tag, who=who, absent=absent
            )
    return Pushed(
        name=resolved.name,
        version=resolved.version,
        digest=resolved.digest,
        repository=repository,
        commit=there,
        tag=tag,
        url=f"{hub.endpoint}/{repository}/tree/{there}",
        created=created,
        withheld=tuple(sorted(absent)),
        exposed=tuple(sorted(left_out.keys() - absent)),
        tells=_tells(release, held_back, release.files.keys() - absent),
    )


def _sign_late(
    registry: Registry,
    hub: Hub,
    resolved: Resolved,
    head: RepoState,
    late: Mapping[str, bytes],
    say: Callable[[str], None],
) -> str | None:
    """Push the signatures that were made since; the release's own commit and tag stay.

    Returns:
        the commit; None if `main` is where somebody else left it.
    """
    if head.commit != _last_push(registry, hub, resolved.name, head.repository):
        say(f"its newer signatures stayed here: `main` is at {head.commit[:12]}, which is not ours")
        return None
    message = f"signatures of {resolved.name}@{resolved.version}"
    commit = hub.commit(
        head.repository, add=dict(late), delete=[], parent=head.commit, message=message
    )
    say(f"pushed {len(late)} signatures that were made since")
    return commit


def leave_out(
    release: Release,
    absences: Mapping[str, Absence],
    withhold: Sequence[str],
    include: Sequence[str],
    private: Collection[str],
) -> dict[str, Absence | None]:
    """The files a push leaves out, with why they are not here if they are not.

    Args:
        private: files that leave only when `include` names them.

    Raises:
        InvalidInput: a pattern means weights, or something that the record withholds.
    """
    asked, named = matching(withhold, release.files), matching(include, release.files)
    check_withheld(asked, "`--withhold`")
    refused = sorted(named & release.withheld)
    if refused:
        raise InvalidInput(
            f"`{refused[0]}` is withheld by the release's own record",
            hint="build it with another `[publish] withhold`; what was published does not change",
        )
    paths = asked | (set(private) - named) | release.withheld
    # Equal bytes are one blob: a twin under another path would carry them there.
    twins = _same_bytes(release, paths)
    check_withheld(twins, "what is withheld")
    gone = {path: absence for path, absence in absences.items() if path in release.files}
    return {**dict.fromkeys(paths | twins), **gone}


def _same_bytes(release: Release, paths: Collection[str]) -> set[str]:
    digests = {release.files[path].digest for path in paths}
    return {path for path, entry in release.files.items() if entry.digest in digests}


def _tells(release: Release, private: Collection[str], pushed: Collection[str]) -> tuple[str, ...]:
    """What of the pushed files tells of rows, or of the machine it was built on."""
    told = sorted(set(private) & set(pushed))
    # Records name files by their names only since 2026-11; older ones cannot be changed.
    local = local_text(release)
    if local is not None:
        told.append(f"{RECORD} (of the machine it was built on, as {local[:80]!r})")
    return tuple(told)


def _refuse_local(release: Release, include: Sequence[str]) -> None:
    """Refuse a record that tells of a machine, unless it is named."""
    local = local_text(release)
    if local is not None and not matching(include, [RECORD]):
        raise Refused(
            f"the record of `{release.name}` tells of the machine it was built on: {local[:80]!r}",
            hint=f"build it again with this version, or push it all the same: `--include {RECORD}`",
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
    registry: Registry,
    hub: Hub,
    head: RepoState,
    release: Release,
    resolved: Resolved,
    left_out: Mapping[str, Absence | None],
) -> str:
    add: dict[str, Path | bytes] = {}
    folders: dict[str, Path] = {}
    for target, path in layout(release).items():
        if path in left_out:
            continue
        role, _, inside = path.partition("/")
        if inside and role in (ADAPTER, SERVABLE, FULL):
            if role not in folders:
                folders[role] = registry.checkout(release.digest, role)
            add[target] = folders[role] / inside
        else:
            add[target] = registry.read(release.digest, path)
    carded = CARD in release.files and CARD not in left_out
    body = registry.read(release.digest, CARD).decode() if carded else ""
    add[CARD] = build_card(release, body, repository=head.repository).encode()
    add[RECORD] = release.to_bytes()
    add |= signature_files(registry.all_signatures(release.digest))
    if left_out:
        add[ABSENT] = write_absent(left_out)
    return hub.commit(
        head.repository,
        add=add,
        delete=sorted(
            path for path in head.files.keys() - add.keys() - {ATTRIBUTES} if not is_late(path)
        ),
        parent=head.commit,
        message=f"{resolved.name}@{resolved.version}",
    )


def pushes(registry: Registry, name: str) -> list[Event]:
    """The pushes of a name, newest first: data has `repository`, `endpoint`, `commit`, `tag`."""
    with registry.database.read() as connection:
        return [*log.every(connection, name, kinds=(KIND,))][::-1]


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
    absent: Collection[str],
) -> None:
    """Record the commit, once."""
    data = {"repository": repository, "endpoint": hub.endpoint, "commit": commit, "tag": tag}
    for event in pushes(registry, resolved.name):
        if event.version == resolved.version and data.items() <= event.data.items():
            return
    registry.note(
        resolved.name,
        resolved.version,
        KIND,
        who=who,
        digest=resolved.digest,
        withheld=sorted(absent),
        **data,
    )
