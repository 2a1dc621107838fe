"""What a command is given: settings, output choices and, made on first use, the stores.

Invariant: importing this module or the command tree imports no database driver and no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from adapterworks.errors import harmless
from adapterworks.extras import require
from adapterworks.manifests.errors import InvalidInput
from adapterworks.settings import Settings

if TYPE_CHECKING:
    from adapterworks.login.store import Login
    from adapterworks.manifests.refs import Ref
    from adapterworks.registry.bases.base import Base
    from adapterworks.registry.bases.store import BaseStore
    from adapterworks.registry.exchanges.store import Exchanges
    from adapterworks.registry.registry import Registry


@dataclass
class App:
    """The click context object (`@click.pass_obj`)."""

    settings: Settings = field(default_factory=Settings.from_environment)
    quiet: bool = False
    verbose: bool = False

    @cached_property
    def registry(self) -> Registry:
        """The registry of these settings: a server's, or this machine's, migrated and ready."""
        if self.settings.registry is not None:
            from adapterworks.registry.remotes.http.registry import RemoteRegistry

            return RemoteRegistry(
                self.settings.registry,
                self.settings.registry_token or partial(self._login, self.settings.registry),
                self.settings.home,
                self.settings.author,
                insecure=self.settings.registry_insecure,
                most_checkouts=self.settings.checkouts,
            )
        from adapterworks.registry.registry import Registry

        return Registry.open(
            database=self.settings.database,
            blobs=self.settings.blobs,
            home=self.settings.home,
            author=self.settings.author,
            most_checkouts=self.settings.checkouts,
        )

    @property
    def has_registry(self) -> bool:
        """Whether there is something to open that opening would not make."""
        database = self.settings.database
        here = database.removeprefix("sqlite:///")
        return self.settings.registry is not None or here == database or Path(here).exists()

    def require_index_here(self) -> None:
        """Check that the index of these settings is the one that is worked on.

        Raises:
            InvalidInput: a server has it, and what would be touched is a leftover on this machine.
        """
        if self.settings.registry is not None:
            from adapterworks.registry.remotes.http.catalog import NOT_HERE, NOT_HERE_HINT

            raise InvalidInput(NOT_HERE, hint=NOT_HERE_HINT)

    def _login(self, url: str) -> str | None:
        """The token of a login to a server, renewed if it ends soon; None without one."""
        from adapterworks.login.store import Logins
        from adapterworks.registry.remotes.http.link import check_url

        def renew(login: Login) -> Login:
            from adapterworks.login.flow import renewed

            return renewed(login)

        registry = check_url(url, insecure=self.settings.registry_insecure)
        login = Logins(self.settings.home).current(registry, renew)
        return None if login is None else login.token

    @cached_property
    def exchanges(self) -> Exchanges:
        """What was captured of answers, and said of them."""
        from adapterworks.registry.exchanges.store import Exchanges

        return Exchanges.of(self.registry, self.settings.keys)

    def ref(self, text: str) -> Ref:
        """What somebody typed for a release; the beginning of a digest will do."""
        from adapterworks.naming import read_ref

        return read_ref(text, lambda: self.registry)

    def look_for(self, text: str) -> Ref:
        """As `ref`, for commands that only read: a name alone may be its newest version."""
        from adapterworks.naming import look_for

        return look_for(text, self.registry, self.note)

    def note(self, line: str) -> None:
        """Say something on stderr that nobody needs for going on; `-q` keeps it."""
        if not self.quiet:
            click.echo(harmless(line), err=True)

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
