"""What a command is given: settings, output choices and, made on first use, the stores.

Invariant: importing this module or the command tree imports no database driver and no torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from adapterworks.settings import Settings

if TYPE_CHECKING:
    from adapterworks.registry.bases.store import BaseStore
    from adapterworks.registry.registry import Registry


@dataclass
class App:
    """The click context object (`@click.pass_obj`)."""

    settings: Settings = field(default_factory=Settings.from_environment)

    @cached_property
    def registry(self) -> Registry:
        """The registry of these settings, migrated and ready."""
        from adapterworks.registry.registry import Registry

        return Registry.open(
            database=self.settings.database, blobs=self.settings.blobs, home=self.settings.home
        )

    @cached_property
    def bases(self) -> BaseStore:
        """The prepared base models."""
        from adapterworks.registry.bases.store import BaseStore

        return BaseStore(self.settings.bases)

    def close(self) -> None:
        """Close what was opened."""
        if "registry" in self.__dict__:
            self.registry.close()
