"""The log: what happened to a name, and what was learnt of its versions later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adapterworks.manifests.refs import Ref
from adapterworks.registry.catalog import Catalog
from adapterworks.registry.index import log, lookup
from adapterworks.registry.releases.types import Event

PAGE = 200


class Log:
    """The append-only log of every name (`Registry.log`)."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

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
        """A page of a name's log (or of an alias, or a version), newest first, older than `before`.

        Args:
            facts: only what was learnt of releases after they were published.

        Raises:
            NotFound: there is no such name, alias or version.
        """
        with self._catalog.database.read() as connection:
            lookup.require_name(connection, name)
            if version is not None:
                lookup.get_version(connection, name, version)
            found = log.events(
                connection,
                name,
                alias=alias,
                version=version,
                facts=facts,
                limit=limit,
                before=before,
            )
            if alias is not None and not found and before is None:  # it never was one
                lookup.resolve(connection, Ref(name, alias=alias))
            return found

    def facts(self, name: str, version: int, kinds: tuple[str, ...]) -> Iterator[Event]:
        """All that was learnt of a version later and is of some kinds, newest first; read in pages.

        Raises:
            NotFound: there is no such version.
        """
        before: int | None = None
        while True:
            with self._catalog.database.read() as connection:
                lookup.get_version(connection, name, version)
                page = log.events(
                    connection, name, version=version, kinds=kinds, limit=PAGE, before=before
                )
            yield from page
            if len(page) < PAGE:
                return
            before = page[-1].sequence

    def deprecation(self, name: str, version: int) -> Event | None:
        """Who said when and why that a version should no longer be used, if that stands."""
        with self._catalog.database.read() as connection:
            newest = log.events(connection, name, version=version, kinds=("deprecate",), limit=1)
        return next((event for event in newest if event.data["deprecated"]), None)

    def deprecate(
        self, name: str, version: int, *, who: str, why: str, deprecated: bool = True
    ) -> Event:
        """Say that a version should no longer be used and why, or take that back.

        Raises:
            NotFound: there is no such live version.
        """
        with self._catalog.database.write() as connection:
            lookup.resolve(connection, lookup.exact(name, version))
            return log.append(
                connection,
                name,
                "deprecate",
                who=who,
                why=why,
                version=version,
                deprecated=deprecated,
            )

    def note(
        self, name: str, version: int | None, kind: str, *, who: str, why: str = "", **data: Any
    ) -> Event:
        """Append an event of another kind (`push`, `import`, …) to a name's log."""
        with self._catalog.database.write() as connection:
            return log.append(connection, name, kind, who=who, why=why, version=version, **data)

    def note_proof(self, digest: str, result: str, **facts: Any) -> None:
        """Log what came of a proof on an engine, if the newest one of the release said otherwise.

        Args:
            result: `proved` or `failed`.
            facts: of the engine, and what was measured.
        """
        with self._catalog.database.read() as connection:
            found = lookup.find_live(connection, digest)
            if found is None:
                return
            newest = log.events(
                connection, found.name, version=found.version, kinds=("proof",), limit=1
            )
        if not newest or newest[0].data.get("result") != result:
            self.note(found.name, found.version, "proof", who="gateway", result=result, **facts)

    def last(self, kind: str) -> dict[str, Event]:
        """Name → its last event of a kind (`apply`, `push`, …), for those that have one."""
        with self._catalog.database.read() as connection:
            return log.newest(connection, kind)
