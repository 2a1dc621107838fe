"""A release on its way into another place, whichever kind of place that is.

    pack (what leaves) → deliver (the place's own part) → log

Invariant: one rule says what leaves and one log says where it went; a kind of place adds nothing
but how its bytes get there (`hub/push.py`, `oci/push.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Resolved
from adapterworks.registry.remotes.held import Held
from adapterworks.registry.remotes.leaving import Parcel, pack, pack_held
from adapterworks.registry.remotes.pushed import Pushed, note_push
from adapterworks.registry.remotes.room import require_room_of
from adapterworks.registry.remotes.staging import stage_of


@dataclass(frozen=True, slots=True)
class Delivered:
    """Where a parcel is now.

    Attributes:
        repository, endpoint: of the place, as the log keeps them.
        commit: the commit or digest that it is at.
        tag: that names it there.
        url: for people.
        created: whether this delivery put it there.
        absent: the files whose bytes are not there.
        later: a commit with signatures that were made since, if there is one.
    """

    repository: str
    endpoint: str
    commit: str
    tag: str
    url: str
    created: bool
    absent: Collection[str]
    later: str | None = None


class Destination(Protocol):
    """A repository that takes releases."""

    def deliver(self, parcel: Parcel, *, private: bool, say: Callable[[str], None]) -> Delivered:
        """Bring a parcel there, or find that it is there.

        Args:
            private: refuse a place that anybody may read.
            say: told who may read there, before anything of the release is sent.

        Raises:
            Conflict: something else has its place.
            Refused: we may not write there, or anybody may read there.
        """
        ...


def push(
    registry: Registry,
    destination: Destination,
    resolved: Resolved,
    *,
    who: str,
    private: bool = True,
    withhold: Sequence[str] = (),
    include: Sequence[str] = (),
    tag: str | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Pushed:
    """Push a version of this registry, and note in its log where it is.

    Args:
        private: as `Destination.deliver` takes it.
        withhold, include: patterns, as `leaving.pack` takes them.
        tag: the tag there; `v<version>` if it is not given.

    Raises:
        InvalidInput: a pattern means weights, or something that the record withholds.
        Conflict, Refused: as `Destination.deliver`.
    """
    parcel = pack(registry, resolved, tag=tag, withhold=withhold, include=include)
    done = destination.deliver(parcel, private=private, say=say)
    for commit in filter(None, (done.commit, done.later)):
        note_push(
            registry,
            resolved,
            who=who,
            repository=done.repository,
            endpoint=done.endpoint,
            commit=commit,
            tag=done.tag,
            absent=done.absent,
        )
    return Pushed(
        name=resolved.name,
        version=resolved.version,
        digest=resolved.digest,
        repository=done.repository,
        commit=done.commit,
        tag=done.tag,
        url=done.url,
        created=done.created,
        withheld=tuple(sorted(done.absent)),
        exposed=tuple(sorted(parcel.left_out.keys() - set(done.absent))),
        tells=parcel.told(parcel.release.files.keys() - set(done.absent)),
    )


def copy(
    held: Held,
    destination: Destination,
    *,
    scratch: Path,
    tag: str | None,
    private: bool = True,
    withhold: Sequence[str] = (),
    include: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> Delivered:
    """Bring a release from one place to another; nothing of it stays here.

    Each file is compared with its digest when it has come and again by the place that it goes to.
    A copy that was cut off is continued: what had come is still here, what had gone is there.

    Args:
        scratch: a folder for what is on its way.
        tag: the tag there.
        private, withhold, include, say: as `push` takes them.

    Raises:
        InvalidInput: no tag, or a pattern means weights.
        IntegrityError: a file is not what the record says.
        Conflict, Refused: as `Destination.deliver`.
    """
    if tag is None:
        raise InvalidInput(
            f"`{held.where}` says no version, so it is not known what it is to be called there",
            hint="name a tag: `oci://host/org/name:v3`, or `hub:org/name@v3`",
        )
    with stage_of(held, scratch) as stage:
        require_room_of(held, stage)
        parcel = pack_held(held, stage, tag=tag, withhold=withhold, include=include)
        return destination.deliver(parcel, private=private, say=say)
