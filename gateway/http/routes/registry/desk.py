"""What the paths of the registry are given, and who asks: the same in a gateway and without one."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from adapterworks.gateway.config.tables import HttpTable
from adapterworks.gateway.tokens.roles import Role
from adapterworks.gateway.tokens.sent import Sent
from adapterworks.gateway.tokens.tokens import Caller, Tokens
from adapterworks.registry.registry import Registry


@dataclass(frozen=True, slots=True)
class Desk:
    """The registry that is offered, and to whom.

    Attributes:
        anonymous: what somebody without a token may do; None: nothing.
        http: bounds of what a client may send.
    """

    registry: Registry
    tokens: Tokens
    sent: Sent
    anonymous: Role | None
    http: HttpTable


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


def open_desk(registry: Registry, anonymous: Role | None, http: HttpTable) -> Desk:
    """The desk of a registry, its tables migrated."""
    return Desk(registry, Tokens(registry.database), Sent(registry), anonymous, http)
