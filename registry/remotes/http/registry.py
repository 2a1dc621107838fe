"""A registry over HTTP, as everything else takes it: a `Registry` whose parts ask a server.

It has the shape of the local one: a catalog (`catalog.py`), what changes an alias or a version
(here), and an object for each concern (`facets/`). Each part is its local namesake but for what the
server answers; what it does not answer is refused by the catalog, in one sentence.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from adapterworks.manifests.errors import Conflict, Refused
from adapterworks.manifests.refs import check_alias, check_name
from adapterworks.registry.lifecycle import leases
from adapterworks.registry.lifecycle import publish as publishing
from adapterworks.registry.reading.checkout import asked_for
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import UNNAMED, Draft, Release
from adapterworks.registry.releases.types import (
    UNSET,
    AliasMove,
    Event,
    Published,
    Unset,
    VersionRow,
)
from adapterworks.registry.remotes.http.catalog import RemoteCatalog
from adapterworks.registry.remotes.http.facets.approvals import RemoteApprovals
from adapterworks.registry.remotes.http.facets.log import RemoteLog
from adapterworks.registry.remotes.http.facets.origins import RemoteOrigins
from adapterworks.registry.remotes.http.facets.protection import RemoteProtection
from adapterworks.registry.remotes.http.facets.signatures import RemoteSignatures
from adapterworks.registry.remotes.http.facets.upkeep import RemoteUpkeep
from adapterworks.registry.remotes.http.link import Token, part
from adapterworks.registry.remotes.http.paths import alias_path, version_path


class RemoteRegistry(RemoteCatalog, Registry):
    """A registry behind a server."""

    def __init__(
        self,
        url: str,
        token: Token,
        home: Path,
        author: str = UNNAMED,
        *,
        insecure: bool = False,
        most_checkouts: int | None = None,
    ) -> None:
        """Ask nothing yet; see `RemoteCatalog`."""
        super().__init__(url, token, home, author, insecure=insecure, most_checkouts=most_checkouts)
        self.protection = RemoteProtection(self)
        self.approvals = RemoteApprovals(self, self.protection)
        self.signatures = RemoteSignatures(self)
        self.log = RemoteLog(self)
        self.origins = RemoteOrigins(self)
        self.upkeep = RemoteUpkeep(self, self.signatures)

    def publish(
        self,
        folder: Path,
        draft: Draft,
        *,
        alias: str | None = None,
        who: str,
        why: str = "",
        since: int | None = None,
        guard: publishing.Guard | None = None,
    ) -> Published:
        """Send a folder's files, then publish; `alias` moves after it, by its own right.

        Args:
            since: a sequence of the name's log: where somebody moved the alias after it, it stays.
        """
        if guard is not None:
            self.refuse()
        check_name(draft.name)
        if not draft.created_by:
            draft = draft.model_copy(update={"created_by": self.author or UNNAMED})
        release = Release.from_draft(draft, publishing.scan(folder))
        return self._send(folder, release, alias, built=True, why=why, since=since)

    def adopt(
        self,
        folder: Path,
        release: Release,
        *,
        withheld: Mapping[str, str] = MappingProxyType({}),
        alias: str | None = None,
        who: str,
        why: str = "",
    ) -> Published:
        """Publish a release that was made elsewhere, with all of its files."""
        if withheld:
            raise Refused(
                f"`{release.name}` came without the bytes of {', '.join(sorted(withheld)[:3])}",
                hint="a release without all of its files is adopted where the registry is",
            )
        return self._send(folder, release, alias, built=False, why=why)

    def _send(
        self,
        folder: Path,
        release: Release,
        alias: str | None,
        *,
        built: bool,
        why: str,
        since: int | None = None,
    ) -> Published:
        if alias is not None:
            check_alias(alias)
            self.protection.require_movable(release.name, alias)
        for path, entry in release.files.items():
            self._bytes.put(entry.digest, folder / path)
        made = self.link.post(
            f"/adapters/{part(release.name)}/versions",
            Published,
            record=release.to_bytes().decode(),
            built=built,
            why=why,
        )
        if alias is None:
            return made
        held = self.name(made.name).aliases.get(alias, ())
        if [holder.version for holder in held] == [made.version]:
            return made  # alone: a canary beside it ends, as it does where the registry is
        try:
            self.promote(made.name, made.version, alias, who="", why=why, since=since)
        except Conflict as error:
            return replace(made, kept=error.message)
        return made

    def promote(
        self,
        name: str,
        version: int,
        alias: str,
        *,
        who: str,
        why: str = "",
        expect: int | Unset | None = UNSET,
        weight: int = 100,
        since: int | None = None,
    ) -> AliasMove:
        """Move an alias by compare-and-set."""
        said = {} if isinstance(expect, Unset) else {"expect": expect}
        said |= {} if since is None else {"since": since}
        return self.link.post(
            alias_path(name, alias), AliasMove, version=version, percent=weight, why=why, **said
        )

    def rollback(
        self, name: str, alias: str, *, who: str, why: str = "", expect: int | Unset = UNSET
    ) -> AliasMove:
        """Undo the last standing step of an alias."""
        said = {} if isinstance(expect, Unset) else {"expect": expect}
        return self.link.post(f"{alias_path(name, alias)}/rollback", AliasMove, why=why, **said)

    def retire(
        self, name: str, alias: str, *, who: str, why: str = "", expect: int | Unset = UNSET
    ) -> Event:
        """Remove an alias."""
        said = {} if isinstance(expect, Unset) else {"expect": expect}
        return self.link.post(f"{alias_path(name, alias)}/retirement", Event, why=why, **said)

    def delete(
        self, name: str, version: int, *, with_aliases: bool = False, who: str, why: str = ""
    ) -> None:
        """Turn a version into a tombstone."""
        way = f"{version_path(name, version)}/deletion"
        self.link.post(way, VersionRow, with_aliases=with_aliases, why=why)
        self._records.clear()

    def tag(
        self,
        name: str,
        version: int,
        *,
        add: Sequence[str] = (),
        remove: Sequence[str] = (),
        who: str,
        why: str = "",
    ) -> tuple[str, ...]:
        """Give and take tags."""
        way = f"{version_path(name, version)}/tags"
        told = self.link.post(way, dict[str, Any], add=list(add), remove=list(remove), why=why)
        return tuple(told["tags"])

    def hold(self, *digests: str, kind: str, seconds: float = leases.LEASE_S) -> leases.Lease:
        """Nothing is held there: what is worked with is checked out here, and stays while held."""
        for digest in digests:
            self.find(digest)
        return _Here(self.checkouts, digests, seconds)


class _Here(leases.Lease):
    """A lease on this machine's checkouts: as long as it is renewed, no other makes them leave."""

    def __init__(self, checkouts: Path, digests: Iterable[str], seconds: float) -> None:
        self._folders = [checkouts / digest.removeprefix("sha256:") for digest in digests]
        self._seconds = seconds
        self._over = threading.Event()
        self.renew()

    def renew(self) -> None:
        """Let them count as just asked for."""
        for folder in self._folders:
            for role in folder.glob("*"):
                asked_for(role)

    def end(self) -> None:
        """Nothing: from now on a day passes until they may leave."""
