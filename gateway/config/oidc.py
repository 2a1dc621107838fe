"""`[registry.oidc]`: persons whom an issuer of OpenID Connect names, and their roles."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from adapterworks.gateway.config.table import Table
from adapterworks.gateway.tokens.discovery import check_secure
from adapterworks.gateway.tokens.issuer import Trusted
from adapterworks.gateway.tokens.roles import role_of

# Signed by a key that only the issuer has; `none`, and HMAC with a key that all know, are no words.
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
RoleWord = Literal["reader", "publisher", "promoter", "admin"]
_Claim = Annotated[str, Field(min_length=1, max_length=200)]
_Word = Annotated[str, Field(min_length=1, max_length=500)]


class OidcTable(Table):
    """`[registry.oidc]`: who comes with a token of an issuer, and may do what their groups may.

    Attributes:
        issuer: its address, as its tokens say it (`iss`).
        client_id: of `adapters login` and the console: a public client, with PKCE.
        audience: whom tokens must be for (`aud`); the client, unless it is said.
        person: the claim that names somebody in logs and for four eyes; one that nobody can change
            of themselves.
        groups: the claim with somebody's groups, a list or words; dots lead into tables.
        roles: group → role; of several the highest counts, and without one nobody gets in.
        scopes: asked for at login.
    """

    issuer: str
    client_id: _Word
    audience: _Word | None = None
    person: _Claim = "sub"
    groups: _Claim = "groups"
    roles: dict[_Word, RoleWord]
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256", "ES256")
    scopes: tuple[_Word, ...] = ("openid", "profile", "email")

    @field_validator("issuer")
    @classmethod
    def _is_an_issuer(cls, issuer: str) -> str:
        return check_secure(issuer)

    @field_validator("roles")
    @classmethod
    def _somebody_may(cls, roles: dict[str, str]) -> dict[str, str]:
        if not roles:
            raise ValueError('is empty, and nobody would get in: write `"team" = "reader"`')
        return roles

    def trusted(self) -> Trusted:
        """The table as what verifies tokens takes it."""
        return Trusted(
            issuer=self.issuer,
            client_id=self.client_id,
            audience=self.audience or self.client_id,
            person=self.person,
            groups=self.groups,
            roles={group: role_of(word) for group, word in self.roles.items()},
            algorithms=self.algorithms,
            scopes=self.scopes,
        )
