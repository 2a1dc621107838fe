"""What is known of a release that was pushed: where it is now, and the lines in its log."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from adapterworks.registry.index import log
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.pushes import PUSH
from adapterworks.registry.releases.types import Event, Resolved

KIND = PUSH


@dataclass(frozen=True, slots=True)
class Pushed:
    """Where the release is now; `created` says whether this call put it there.

    Attributes:
        commit: the commit on the Hub, or the manifest's digest in an OCI registry.
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


def pushes(registry: Registry, name: str) -> list[Event]:
    """The pushes of a name, newest first: data has `repository`, `endpoint`, `commit`, `tag`."""
    with registry.database.read() as connection:
        return [*log.every(connection, name, kinds=(KIND,))][::-1]


def note_push(
    registry: Registry,
    resolved: Resolved,
    *,
    who: str,
    repository: str,
    endpoint: str,
    commit: str,
    tag: str,
    absent: Collection[str],
) -> None:
    """Record where a version is now, once."""
    data = {"repository": repository, "endpoint": endpoint, "commit": commit, "tag": tag}
    for event in pushes(registry, resolved.name):
        if event.version == resolved.version and data.items() <= event.data.items():
            return
    registry.log.note(
        resolved.name,
        resolved.version,
        KIND,
        who=who,
        digest=resolved.digest,
        withheld=sorted(absent),
        **data,
    )
