"""Which aliases of a registry behind a server are protected, and from whose token."""

from __future__ import annotations

from typing import Any

from adapterworks.manifests.errors import Refused
from adapterworks.registry.facets.protection import Protection
from adapterworks.registry.lifecycle import protection
from adapterworks.registry.releases.types import Event
from adapterworks.registry.remotes.http.catalog import RemoteCatalog


class RemoteProtection(Protection):
    """The settings there, and what the token may do."""

    def __init__(self, server: RemoteCatalog) -> None:
        super().__init__(server)
        self._server = server

    def settings(self) -> protection.Settings:
        """The registry's settings."""
        told = self._server.link.get("/settings", dict[str, Any])
        return protection.Settings.model_validate({"aliases": told["aliases"]})

    def keep(self, settings: protection.Settings, *, who: str, why: str = "") -> Event:
        """Let other settings hold from now on; it is the token's person who says so."""
        told = settings.model_dump(mode="json")
        return self._server.link.post("/settings", Event, settings=told, why=why)

    def require_movable(self, name: str, alias: str | None) -> None:
        """Check that the token may move an alias, and that it is not protected."""
        if alias is None:
            return
        caller = self._server.link.get("/me", dict[str, Any])
        if caller["role"] not in ("promoter", "admin"):
            raise Refused(
                f"`{caller['name']}` is a {caller['role']}, and moves no alias",
                hint="leave the alias out (`publish.alias` in a manifest), "
                "or use a promoter's token",
            )
        rule = self.settings().aliases.get(alias)
        if rule is not None and rule.concerns(name):
            raise Refused(
                f"`{name}:{alias}` is protected: nothing moves it on the way",
                hint=f"publish first; then: adapters promote {name}@N {alias}",
            )
