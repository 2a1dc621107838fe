"""A pushed release at a commit of a Hub repository."""

from __future__ import annotations

import functools
from pathlib import Path

from adapterworks.manifests.errors import Refused
from adapterworks.registry.releases.release import Release
from adapterworks.registry.remotes.hub.client import Hub, RepoState
from adapterworks.registry.remotes.hub.layout import RECORD, layout
from adapterworks.registry.remotes.hub.names import HubSource
from adapterworks.registry.remotes.hub.record import fetch_absent, fetch_record
from adapterworks.registry.remotes.hub.signatures import fetch_late, fetch_signatures
from adapterworks.registry.remotes.record import parse_record


class HubRelease:
    """The release at `state`; see `adapterworks.registry.remotes.held.Held`.

    Args:
        scratch: a folder for downloads.

    Raises:
        Refused: nothing was pushed there.
        IntegrityError: not a record.
    """

    def __init__(self, hub: Hub, state: RepoState, scratch: Path) -> None:
        source = HubSource(state.repository, state.commit)
        if RECORD not in state.files:
            raise Refused(f"`{source}` was not pushed by adapterworks: it holds no release")
        self._hub, self._state, self._scratch = hub, state, scratch
        self.where, self.source = str(source), str(source).removeprefix("hub:")
        self.endpoint, self.repository, self.revision = hub.endpoint, state.repository, state.commit
        self.release: Release = parse_record(fetch_record(hub, state, scratch), state.repository)

    @functools.cached_property
    def _paths(self) -> dict[str, str]:
        """Repository path by digest."""
        release = self.release
        return {release.files[path].digest: at for at, path in layout(release).items()}

    def stated(self) -> dict[str, str]:
        """See `Held.stated`."""
        return fetch_absent(self._hub, self._state, self.release, self._scratch)

    def signatures(self) -> dict[str, str]:
        """See `Held.signatures`; those on `main` were made after the release was pushed."""
        main = self._hub.state(HubSource(self.repository))
        late = fetch_late(self._hub, main, self.release.digest, self._scratch)
        return late | fetch_signatures(self._hub, self._state, self._scratch)

    def size(self, digest: str) -> int | None:
        """See `Held.size`."""
        return self._state.files.get(self._paths.get(digest, ""))

    def fetch(self, digest: str, target: Path) -> None:
        """See `Held.fetch`; what the client keeps of a part is in `target`'s own folder."""
        path = self._paths[digest]
        into = target.with_name(f"{target.name}.hub")
        limit = self._state.files[path]
        self._hub.download(self._state, path, into, limit=limit).rename(target)
