"""What a line of the log says of a push: where a version was taken, and which bytes stayed behind.

Invariant: reading one never fails. The log is append-only and others write to it (a client over
HTTP, an older program), so a line that does not say this is passed over, not a fault: erasing,
purging and pushing work whatever the log says.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapterworks.registry.releases.types import Event

PUSH = "push"


@dataclass(frozen=True, slots=True)
class Push:
    """One push.

    Attributes:
        endpoint: the Hub's or the registry's address; empty where the line does not say it.
        commit: the commit on the Hub, or the manifest's digest in an OCI registry.
        withheld: the paths whose bytes did not go there; none where the line does not say it in a
            way that can be read: then all of them may have gone.
    """

    repository: str
    endpoint: str
    commit: str
    withheld: frozenset[str] = frozenset()

    @property
    def place(self) -> str:
        """For people: `org/name@COMMIT`."""
        return f"{self.repository}@{self.commit}"


def read_push(event: Event) -> Push | None:
    """The push that an event is; None if it is none, or does not say where."""
    data = event.data
    repository, commit = data.get("repository"), data.get("commit")
    if event.kind != PUSH or not (isinstance(repository, str) and isinstance(commit, str)):
        return None
    endpoint, withheld = data.get("endpoint"), data.get("withheld")
    paths = withheld if isinstance(withheld, list) else ()
    return Push(
        repository,
        endpoint if isinstance(endpoint, str) else "",
        commit,
        frozenset(path for path in paths if isinstance(path, str)),
    )
