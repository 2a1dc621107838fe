"""The log of a registry behind a server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adapterworks.registry.facets.log import PAGE, Log
from adapterworks.registry.releases.types import Event
from adapterworks.registry.remotes.http.catalog import RemoteCatalog
from adapterworks.registry.remotes.http.link import part
from adapterworks.registry.remotes.http.paths import version_path


class RemoteLog(Log):
    """The append-only log there."""

    def __init__(self, server: RemoteCatalog) -> None:
        super().__init__(server)
        self._server = server

    def events(
        self,
        name: str,
        *,
        alias: str | None = None,
        version: int | None = None,
        facts: bool = False,
        limit: int = 50,
        before: int | None = None,
    ) -> list[Event]:
        """A page of a name's log."""
        way = f"/adapters/{part(name)}/log"
        return self._server.link.page(
            way, Event, alias=alias, version=version, facts=facts, limit=limit, after=before
        )

    def facts(self, name: str, version: int, kinds: tuple[str, ...]) -> Iterator[Event]:
        """All that was learnt of a version later and is of some kinds, newest first."""
        before: int | None = None
        while True:
            page = self.events(name, version=version, facts=True, limit=PAGE, before=before)
            yield from (event for event in page if event.kind in kinds)
            if len(page) < PAGE:
                return
            before = page[-1].sequence

    def deprecation(self, name: str, version: int) -> Event | None:
        """Who said that a version should no longer be used, if that stands."""
        said = self._server.said(f"{name}@{version}")["deprecated"]
        return None if said is None else Event(**said)

    def deprecate(
        self, name: str, version: int, *, who: str, why: str, deprecated: bool = True
    ) -> Event:
        """Say that a version should no longer be used, or take that back."""
        way = f"{version_path(name, version)}/deprecation"
        return self._server.link.post(way, Event, deprecated=deprecated, why=why)

    def note(
        self, name: str, version: int | None, kind: str, *, who: str, why: str = "", **data: Any
    ) -> Event:
        """Append an event of another kind to a version's log."""
        if version is None:
            self._server.refuse()
        way = f"{version_path(name, version)}/notes"
        return self._server.link.post(way, Event, kind=kind, data=data, why=why)
