"""Which aliases are protected, and whether a version has what one of them asks for."""

from __future__ import annotations

from adapterworks.manifests.refs import check_alias
from adapterworks.registry.catalog import Catalog
from adapterworks.registry.index import lookup
from adapterworks.registry.lifecycle import clearance, protection
from adapterworks.registry.releases.types import Event


class Protection:
    """The settings of a registry, and what follows from them (`Registry.protection`)."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def settings(self) -> protection.Settings:
        """The registry's settings, which hold for everybody who uses it."""
        with self._catalog.database.read() as connection:
            found = protection.standing(connection)
        return protection.Settings() if found is None else found.settings

    def keep(self, settings: protection.Settings, *, who: str, why: str = "") -> Event:
        """Let other settings hold from now on."""
        with self._catalog.database.write() as connection:
            return protection.keep(connection, settings, who=who, why=why)

    def require_movable(self, name: str, alias: str | None) -> None:
        """Check, before a build or an import, that its release may get an alias by itself.

        Raises:
            Refused: the alias is protected, so a release gets it later.
        """
        if alias is not None:
            check_alias(alias)
            with self._catalog.database.read() as connection:
                protection.require_cleared(connection, name, alias, None)

    def clear(self, name: str, version: int, alias: str, *, approved: bool = False) -> int | None:
        """The settings that a version fulfils, where its alias is protected."""
        with self._catalog.database.read() as connection:
            found = protection.standing(connection)
            rule = None if found is None else found.rule(name, alias)
            if found is None or rule is None:
                return None
            resolved = lookup.resolve(connection, lookup.exact(name, version))
            clearance.require(
                connection,
                resolved,
                rule,
                alias,
                record=self._catalog.release(resolved.digest).to_bytes(),
                read=lambda path: self._catalog.read_if_here(resolved.digest, path),
                approved=approved,
            )
            return found.sequence
