"""Four eyes over the moves of aliases of a registry behind a server, which knows who asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapterworks.registry.facets.approvals import Approvals
from adapterworks.registry.facets.protection import Protection
from adapterworks.registry.lifecycle.approval import Request
from adapterworks.registry.releases.types import UNSET, Unset
from adapterworks.registry.remotes.http.catalog import RemoteCatalog
from adapterworks.registry.remotes.http.paths import alias_path


class RemoteApprovals(Approvals):
    """The moves that somebody asked for there."""

    def __init__(self, server: RemoteCatalog, protection: Protection) -> None:
        super().__init__(server, protection)
        self._server = server

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
    ) -> Request:
        """Ask for a move that another person is to approve; the server knows who asks."""
        said = {} if isinstance(expect, Unset) else {"expect": expect}
        way = f"{alias_path(name, alias)}/requests"
        told = self._server.link.post(
            way, dict[str, Any], version=version, percent=weight, why=why, **said
        )
        return _request(told)

    def requests(self, *, limit: int = 50) -> list[Request]:
        """The moves that were asked for and are not decided."""
        told = self._server.link.get("/requests", dict[str, Any])
        return [_request(value) for value in told["data"][:limit]]

    def approve(
        self, request: int, *, who: str, why: str = "", makers: Sequence[str] = ()
    ) -> Request:
        """Approve a move that another person asked for; the server knows who approves."""
        return _request(
            self._server.link.post(f"/requests/{request}/approval", dict[str, Any], why=why)
        )

    def deny(self, request: int, *, who: str, why: str = "") -> Request:
        """Decide that a move is not made."""
        return _request(
            self._server.link.post(f"/requests/{request}/denial", dict[str, Any], why=why)
        )


def _request(told: dict[str, Any]) -> Request:
    """A request as a server says it; without `expect` nothing is expected."""
    known = {key: told[key] for key in Request.__slots__ if key in told}
    return Request(**{"expect": UNSET, **known, "approved_by": tuple(told["approved_by"])})
