"""What a release is at another place, whichever kind of place it is.

Each kind has one such view of its own (`hub/held.py`, `oci/held.py`, `own.py`), and everything that
takes a release from somewhere goes through it: pulls, repairs, copies. Invariant: a view is pinned
to a commit or a manifest's digest when it is made, so nothing moves under whoever reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from adapterworks.registry.releases.release import Release


class Held(Protocol):
    """One release at another place."""

    @property
    def where(self) -> str:
        """The place, pinned, as it is written: `hub:org/name@COMMIT`."""
        ...

    @property
    def source(self) -> str:
        """What `adapters pull` is given to come to the very same: `org/name@COMMIT`."""
        ...

    @property
    def endpoint(self) -> str:
        """The address of the server, as it is kept in logs."""
        ...

    @property
    def repository(self) -> str:
        """The repository there, without its server."""
        ...

    @property
    def revision(self) -> str:
        """The commit or digest that it is pinned to."""
        ...

    @property
    def release(self) -> Release:
        """The record, parsed as a stranger's (`record.py`)."""
        ...

    def stated(self) -> dict[str, str]:
        """Why a file's bytes are said not to be there, by path (`absent.py`)."""
        ...

    def signatures(self) -> Mapping[str, str]:
        """The bundles there, by key id; carried, not believed."""
        ...

    def size(self, digest: str) -> int | None:
        """The bytes that a file of the release has there; `None` if it is not there."""
        ...

    def fetch(self, digest: str, target: Path) -> None:
        """Write a file's bytes to `target`, which does not exist.

        What an earlier call that was cut off left beside it is used. The bytes are not checked
        here: `staging.py` does that.

        Raises:
            NotFound: it is not there any more.
            Unavailable: the place cannot be asked.
        """
        ...
