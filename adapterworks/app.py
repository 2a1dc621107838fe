"""What a command is given: settings, output choices and, made on first use, the stores.

Invariant: importing this module or the command tree imports no database driver and no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from adapterworks.extras import require
from adapterworks.settings import Settings

if TYPE_CHECKING:
    from adapterworks.registry.bases.store import Base, BaseStore
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
            database=self.settings.database,
            blobs=self.settings.blobs,
            home=self.settings.home,
            author=self.settings.author,
        )

    @cached_property
    def bases(self) -> BaseStore:
        """The prepared base models."""
        from adapterworks.registry.bases.store import BaseStore

        return BaseStore(self.settings.bases)

    def base(
        self, model: str, *, quantization: str = "none", what: str, say: Callable[[str], None]
    ) -> Base:
        """A base, prepared if it is not; asks first for the extra if that needs one.

        Args:
            model: a name, `hub:org/name@commit` or a folder.
            quantization: `none` or `nf4`.
            what: who asks, for the message (`adapters import`).
            say: told what takes long.

        Raises:
            MissingExtra: it must be unpacked or quantized, and nothing here can.
            NotFound, InvalidInput, IntegrityError, Unavailable: as `BaseStore.ensure`.
        """
        here = any(
            model in (base.name, base.model) and base.quantization == quantization
            for base in self.bases.list()
        )
        named = {source.name: source for source in self.bases.sources()}.get(model)
        if not here and (quantization != "none" or (named is not None and named.embedded)):
            require("build", what)
        return self.bases.ensure(model, quantization=quantization, progress=say)

    def close(self) -> None:
        """Close what was opened."""
        if "registry" in self.__dict__:
            self.registry.close()
