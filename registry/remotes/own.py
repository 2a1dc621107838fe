"""A release in a registry of one's own, as a place that it can be copied from.

Invariant: where a registry is (a folder, a database's address) is not in what is told of it: that
goes into records and logs, which travel. Its id is; of one behind a server, the server's address.
"""

from __future__ import annotations

from pathlib import Path

from adapterworks.registry.blobs.store import copy_blob
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Resolved


class OwnRelease:
    """A version; see `adapterworks.registry.remotes.held.Held`.

    Raises:
        NotFound: it was deleted.
    """

    def __init__(self, registry: Registry, resolved: Resolved) -> None:
        self._registry = registry
        self.release = registry.release(resolved.digest)
        self.repository, self.revision = resolved.name, resolved.digest
        self.endpoint = registry.place()
        self.source = f"{resolved.name}@{resolved.version}"
        self.where = f"{self.endpoint}#{self.source}"
        self._absent = registry.absences(resolved.digest)
        # What it came here without is not its own to give, even if we have such bytes.
        stays = self._absent.keys() | self.release.withheld
        kept = {self.release.files[path].digest for path in stays}
        self._sizes = {
            entry.digest: entry.size
            for entry in self.release.files.values()
            if entry.digest not in kept
        }

    def stated(self) -> dict[str, str]:
        """See `Held.stated`; what its record withholds stays where it was published."""
        withheld = dict.fromkeys(self.release.withheld, f"not sent by {self.endpoint}")
        erased = {
            path: f"{absence.state} in {self.endpoint}" for path, absence in self._absent.items()
        }
        return withheld | erased

    def signatures(self) -> dict[str, str]:
        """See `Held.signatures`."""
        held = self._registry.signatures.counting(self.release.digest)
        return {key: bundles[0] for key, bundles in held.items()}

    def size(self, digest: str) -> int | None:
        """See `Held.size`."""
        return self._sizes.get(digest)

    def fetch(self, digest: str, target: Path) -> None:
        """See `Held.fetch`."""
        copy_blob(self._registry.blobs, digest, target)
