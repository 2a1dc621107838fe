"""`Tokens` and the trail of a registry's server, asked of it with an administrator's token."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from adapterworks.gateway.tenants.keys import NewKey, digest_key
from adapterworks.gateway.tokens.roles import Role
from adapterworks.gateway.tokens.tokens import TokenRow
from adapterworks.gateway.tokens.trail import Entry
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.remotes.http.link import Link, part

_Told = dict[str, Any]


class TokensOverHttp:
    """Tokens of a server."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def create(
        self,
        name: str,
        role: Role,
        *,
        who: str,
        person: str | None = None,
        expires: float | None = None,
    ) -> NewKey:
        """As `Tokens.create`; `who` is the token's person, whatever is said here."""
        seconds = None if expires is None else max(1, round(expires - time.time()))
        said = {"name": name, "role": role.word, "person": person, "seconds": seconds}
        told = self._link.post("/tokens", _Told, **said)
        text = str(told["token"])
        return NewKey(str(told["id"]), digest_key(text), text)

    def grant(self, tenant: str, role: Role, *, who: str) -> None:
        """Refused: that a tenant's keys open the registry is said where it is.

        Raises:
            InvalidInput: always.
        """
        raise InvalidInput(
            "a tenant's keys are not given a role over HTTP",
            hint="run `adapters registry token create … --tenant` on the registry's machine",
        )

    def list(self) -> list[TokenRow]:
        """As `Tokens.list`."""
        return [_row(told) for told in self._link.get("/tokens", _Told)["data"]]

    def revoke(self, name: str, *, who: str) -> TokenRow:
        """As `Tokens.revoke`."""
        return _row(self._link.post(f"/tokens/{part(name)}/revocation", _Told))


def entries(link: Link, *, after: int = 0) -> Iterator[Entry]:
    """As `trail.entries`."""
    reached: object = after
    while True:
        told = link.get("/trail", _Told, limit=1000, after=reached)
        for entry in told["data"]:
            yield Entry(**{key: value for key, value in entry.items() if key != "id"})
        if not told["has_more"]:
            return
        reached = told["last_id"]


def _row(told: Mapping[str, Any]) -> TokenRow:
    names = ("id", "name", "person", "role", "tenant", "created", "expires", "revoked")
    return TokenRow(**{name: told[name] for name in names})
