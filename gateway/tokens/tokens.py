"""Tokens of the registry: what `adapters registry token` and a server of the registry read.

Invariants:
- a token's text is in `NewKey.text` and nowhere else; the table has its SHA-256;
- a token that is revoked, expired or unknown is refused at once and with the same words: each
  request looks it up, by an id that was checked to be one;
- a change of tokens on this machine is in the trail with it; one that comes over HTTP is noted by
  the way in (`http/routes/registry/access.py`), and says here which `token` it came with;
- several tokens may be one person's, and logs name the person; a token that somebody made over HTTP
  says so, since whoever made it has seen its text and could use it;
- a tenant's own keys are no tokens. They have a role only while a grant of that tenant stands.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.gateway.storage.migrations import migrate
from adapterworks.gateway.storage.schema import keys, tenants, tokens
from adapterworks.gateway.tenants.errors import Unauthorized, bad_key
from adapterworks.gateway.tenants.keys import (
    REGISTRY,
    NewKey,
    key_id_of,
    matches,
    new_key,
    state_of,
)
from adapterworks.gateway.tokens import trail
from adapterworks.gateway.tokens.roles import Role, role_of
from adapterworks.manifests.errors import Conflict, InvalidInput, NotFound
from adapterworks.manifests.refs import check_name
from adapterworks.registry.index.database import Database

TENANT_PREFIX = "tenant:"
"""Of the name under which a tenant's own keys stand in logs; no person's begins so."""
LONGEST_PERSON = 200


def names_a_person(text: str) -> bool:
    """Whether logs and four eyes can go by it: an issuer's address or id, as well as a name."""
    return (
        0 < len(text) <= LONGEST_PERSON
        and text.isprintable()
        and text == text.strip()
        and not text.startswith(TENANT_PREFIX)
    )


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        name, id: of the token or key.
        role: what it may do.
        person: whom it is for, as logs name it.
        makers: the people who made it over HTTP, who could use it too: its maker, then whoever
            made the maker's own token, and so on.
    """

    name: str
    id: str
    role: Role
    person: str
    makers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as it may be shown. Times are seconds since the epoch.

    Attributes:
        person: whom it is for.
        tenant: the id of the tenant whose keys have the role, where it is a grant.
    """

    id: str
    name: str
    person: str
    role: str
    tenant: str | None
    created: float
    expires: float | None
    revoked: float | None

    @property
    def state(self) -> str:
        """`active`, `expired` or `revoked`."""
        return state_of(self.expires, self.revoked)


def no_token() -> Unauthorized:
    """The error of a request without a token."""
    return Unauthorized(
        "no registry token was given",
        hint="send it as `Authorization: Bearer awr-…`; "
        "`adapters registry token create NAME --role reader` makes one",
    )


class Tokens:
    """The tokens of an index."""

    def __init__(self, database: Database) -> None:
        migrate(database)
        self._database = database

    def caller(self, shown: str | None, anonymous: Role | None = None) -> Caller:
        """Who shows a token, or a tenant's key.

        Args:
            shown: what came after `Bearer`, untrusted.
            anonymous: what somebody without any may do.

        Raises:
            Unauthorized: it may not come in, whatever the reason.
        """
        if not shown:
            if anonymous is None:
                raise no_token()
            return Caller("anonymous", "", anonymous, "anonymous")
        token, key = key_id_of(shown, REGISTRY), key_id_of(shown)
        row = None
        if token is not None:
            row = self._first(sa.select(tokens).where(tokens.c.id == token))
        elif key is not None:
            row = self._first(_GRANTED.where(keys.c.id == key))
        good = matches(shown, None if row is None else row.digest)
        now = time.time()
        if row is None or not good or row.revoked is not None:
            raise bad_key()
        if row.expires is not None and row.expires <= now:
            raise bad_key()
        if token is None:
            name = TENANT_PREFIX + str(row.tenant_name)
            return Caller(name, row.id, role_of(row.role), name)
        makers = tuple(json.loads(row.makers or "[]"))
        return Caller(row.name, row.id, role_of(row.role), row.person or row.name, makers)

    def create(
        self,
        name: str,
        role: Role,
        *,
        who: str,
        person: str | None = None,
        expires: float | None = None,
        token: str = "",
        makers: Sequence[str] = (),
    ) -> NewKey:
        """A new token under a name.

        Args:
            person: whom it is for, if that is not its name.
            expires: seconds since the epoch.
            makers: see `Caller`.

        Raises:
            InvalidInput: not a name, no person, or it would have expired.
            Conflict: a token of that name works.
        """
        check_name(name, "a token")
        if person is not None and not names_a_person(person):
            raise InvalidInput(
                f"`{person[:LONGEST_PERSON]}` names no person",
                hint=f"1 to {LONGEST_PERSON} characters, as an issuer names them: ann@example.com; "
                f"what begins with `{TENANT_PREFIX}` is a tenant",
            )
        if expires is not None and expires <= time.time():
            raise InvalidInput("a token cannot expire in the past")
        made = new_key(REGISTRY)
        values = {
            "id": made.id,
            "digest": made.digest,
            "expires": expires,
            "person": person or name,
            "makers": json.dumps(list(dict.fromkeys(makers))),
        }
        self._insert(name, role, values, who, token)
        return made

    def grant(self, tenant: str, role: Role, *, who: str, token: str = "") -> None:
        """Let a tenant's own keys have a role.

        Raises:
            NotFound: there is no such tenant.
            Conflict: they have one.
        """
        query = sa.select(tenants.c.id).where(tenants.c.name == tenant, tenants.c.removed.is_(None))
        row = self._first(query)
        if row is None:
            raise NotFound(f"there is no tenant `{tenant}`", hint="see `adapters tenant list`")
        values = {"id": new_key(REGISTRY).id, "tenant": row.id}
        self._insert(f"tenant.{tenant}"[:64], role, values, who, token)

    def list(self) -> list[TokenRow]:
        """All of them, oldest first, revoked ones too."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(tokens).order_by(tokens.c.created, tokens.c.id))
            return [_row(row) for row in rows]

    def revoke(self, name: str, *, who: str, token: str = "") -> TokenRow:
        """Revoke a token, or a tenant's grant, by name or id.

        Raises:
            NotFound: none that works has it.
        """
        with self._database.write() as connection:
            row = connection.execute(
                sa.select(tokens).where(
                    (tokens.c.name == name) | (tokens.c.id == name), tokens.c.revoked.is_(None)
                )
            ).first()
            if row is None:
                # It may be a mistyped token, so it is not quoted.
                raise NotFound(
                    "there is no such token, or it is revoked",
                    hint="name it as `adapters registry token list` does",
                )
            revoked = time.time()
            connection.execute(
                sa.update(tokens).where(tokens.c.id == row.id).values(revoked=revoked)
            )
            _note(connection, "token.revoke", row.name, {"id": row.id}, who, token)
            return _row(row, revoked=revoked)

    def _insert(self, name: str, role: Role, values: dict[str, Any], who: str, token: str) -> None:
        with self._database.write() as connection:
            taken = sa.select(tokens.c.id).where(tokens.c.name == name, tokens.c.revoked.is_(None))
            if connection.scalar(taken) is not None:
                raise Conflict(
                    f"there is a token `{name}` already",
                    hint=f"revoke it first: `adapters registry token revoke {name}`",
                )
            connection.execute(
                sa.insert(tokens).values(name=name, role=role.word, created=time.time(), **values)
            )
            said = {"id": values["id"], "role": role.word, "person": values.get("person", name)}
            _note(connection, "token.create", name, said, who, token)

    def _first(self, query: sa.Select[Any]) -> Any:
        with self._database.read() as connection:
            return connection.execute(query).first()


# A tenant's key with the role that its tenant was given.
_GRANTED = (
    sa.select(
        keys.c.id,
        keys.c.digest,
        keys.c.expires,
        keys.c.revoked,
        tokens.c.role,
        tenants.c.name.label("tenant_name"),
    )
    .join(tenants, tenants.c.id == keys.c.tenant)
    .join(tokens, tokens.c.tenant == tenants.c.id)
    .where(tenants.c.removed.is_(None), tokens.c.revoked.is_(None))
)


def _row(row: Any, revoked: float | None = None) -> TokenRow:
    return TokenRow(
        id=row.id,
        name=row.name,
        person=row.person or row.name,
        role=row.role,
        tenant=row.tenant,
        created=row.created,
        expires=row.expires,
        revoked=revoked or row.revoked,
    )


def _note(
    connection: Connection, action: str, name: str, details: dict[str, Any], who: str, token: str
) -> None:
    if not token:
        asked = trail.Asked(who, "", action, name, details)
        trail.ended(connection, trail.begun(connection, asked), asked, trail.DONE)
