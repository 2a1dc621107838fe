"""Four eyes over the moves of aliases: asked for by one person, approved or denied by another."""

from __future__ import annotations

from collections.abc import Sequence

from adapterworks.manifests.refs import check_alias
from adapterworks.registry.catalog import Catalog
from adapterworks.registry.facets.protection import Protection
from adapterworks.registry.index import log, lookup
from adapterworks.registry.lifecycle import aliases, approval, protection
from adapterworks.registry.releases.types import UNSET, Unset


class Approvals:
    """The moves that somebody asked for (`Registry.approvals`)."""

    def __init__(self, catalog: Catalog, protection: Protection) -> None:
        self._catalog = catalog
        self._protection = protection

    def request(
        self,
        name: str,
        version: int,
        alias: str,
        *,
        who: str,
        why: str,
        expect: int | Unset | None = UNSET,
        weight: int = 100,
        makers: Sequence[str] = (),
    ) -> approval.Request:
        """Ask for a move that somebody else is to approve.

        Args:
            makers: people who could have asked in the name of `who`, and so do not approve.

        Raises:
            NotFound: there is no such live version.
        """
        check_alias(alias)
        with self._catalog.database.write() as connection:
            lookup.resolve(connection, lookup.exact(name, version))
            return approval.ask(
                connection,
                name,
                version,
                alias,
                who=who,
                why=why,
                expect=expect,
                percent=weight,
                makers=makers,
            )

    def requests(self, *, limit: int = 50) -> list[approval.Request]:
        """The moves that were asked for and are not decided, newest first."""
        with self._catalog.database.read() as connection:
            return approval.standing(connection, limit=limit)

    def approve(
        self, request: int, *, who: str, why: str = "", makers: Sequence[str] = ()
    ) -> approval.Request:
        """Approve a move that somebody else asked for; the last approval needed makes it.

        Args:
            makers: people who could have approved in the name of `who`.

        Raises:
            NotFound: there is no such request, or its version was deleted.
            Refused: `who` asked for it, or the version lacks what the alias asks for.
            Conflict: it was decided, or another version holds the alias than was expected.
        """
        while True:
            with self._catalog.database.read() as connection:
                found = approval.find(connection, request)
                approval.require_open(found)
                approval.require_other(found, who, makers)
                settings = protection.standing(connection)
                seen = log.head(connection, found.name)
            rule = None if settings is None else settings.rule(found.name, found.alias)
            needed = max(1, rule.approvals) if rule is not None else 1
            last = len(found.approved_by) + 1 >= needed
            cleared = (
                self._protection.clear(found.name, found.version, found.alias, approved=True)
                if last
                else None
            )
            with self._catalog.database.write() as connection:
                if log.head(connection, found.name) != seen:
                    continue  # somebody was quicker, or something was learnt: once more
                approval.decide(
                    connection,
                    found,
                    approval.APPROVE,
                    who=who,
                    why=why,
                    last=last,
                    makers=makers,
                )
                if last:
                    aliases.promote(
                        connection,
                        found.name,
                        found.version,
                        found.alias,
                        who=who,
                        why=f"request {request} by {found.who}: {found.why}",
                        expect=found.expect,
                        weight=found.percent,
                        cleared=cleared,
                    )
                return approval.find(connection, request)

    def deny(self, request: int, *, who: str, why: str = "") -> approval.Request:
        """Decide that a move is not made.

        Raises:
            NotFound: there is no such request.
            Conflict: it was decided.
        """
        with self._catalog.database.write() as connection:
            found = approval.find(connection, request)
            approval.require_open(found)
            approval.decide(connection, found, approval.DENY, who=who, why=why, last=True)
            return approval.find(connection, request)
