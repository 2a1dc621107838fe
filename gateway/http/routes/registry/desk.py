"""What the paths of the registry are given, and who asks: the same in a gateway and without one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.requests import Request

from adapterworks.gateway.config.oidc import OidcTable
from adapterworks.gateway.config.tables import HttpTable
from adapterworks.gateway.tokens.issuer import Issuer, is_of_an_issuer
from adapterworks.gateway.tokens.roles import Role
from adapterworks.gateway.tokens.sent import Sent
from adapterworks.gateway.tokens.tokens import Caller, Tokens
from adapterworks.registry.exchanges.store import Exchanges
from adapterworks.registry.registry import Registry


@dataclass(frozen=True, slots=True)
class Desk:
    """The registry that is offered, and to whom.

    Attributes:
        anonymous: what somebody without a token may do; None: nothing.
        http: bounds of what a client may send.
        issuer: whose tokens open it too.
        keys: folder of the keys that captured answers are sealed with; None: beside the home.
    """

    registry: Registry
    tokens: Tokens
    sent: Sent
    anonymous: Role | None
    http: HttpTable
    issuer: Issuer | None = None
    keys: Path | None = None

    @property
    def exchanges(self) -> Exchanges:
        """What was captured of answers, and said of them."""
        return Exchanges.of(self.registry, self.keys)

    def caller(self, shown: str | None) -> Caller:
        """Who shows a token of ours, a tenant's key, or a token of the issuer.

        Raises:
            Unauthorized: it opens nothing.
            NoRole: its person may do nothing here.
            Unavailable: the issuer cannot be asked for its keys.
        """
        if self.issuer is not None and shown and is_of_an_issuer(shown):
            return self.issuer.caller(shown)
        return self.tokens.caller(shown, self.anonymous)

    async def called(self, shown: str | None) -> Caller:
        """As `caller`, in a thread; the issuer's are others than those of everybody else."""
        if self.issuer is not None and shown and is_of_an_issuer(shown):
            return await self.issuer.aside(partial(self.caller, shown))
        return await asyncio.to_thread(self.caller, shown)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a caller who may make it."""

    request: Request
    caller: Caller
    desk: Desk

    @property
    def registry(self) -> Registry:
        """The registry that is asked."""
        return self.desk.registry

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[name])

    def query(self, name: str) -> str | None:
        """A word of the query; an empty one is none."""
        return self.request.query_params.get(name) or None


def open_desk(
    registry: Registry,
    anonymous: Role | None,
    http: HttpTable,
    oidc: OidcTable | None = None,
    keys: Path | None = None,
) -> Desk:
    """The desk of a registry, its tables migrated."""
    issuer = None if oidc is None else Issuer(oidc.trusted())
    return Desk(registry, Tokens(registry.database), Sent(registry), anonymous, http, issuer, keys)
