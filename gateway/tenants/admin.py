"""Changing tenants and keys: what `adapters tenant` does.

Invariant: a change, its audit entry and the bump of the revision that running gateways poll are one
transaction. Removed tenants and revoked keys stay as tombstones.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.gateway.storage.migrations import migrate
from adapterworks.gateway.storage.schema import keys, revision, tenants
from adapterworks.gateway.tenants import audit
from adapterworks.gateway.tenants.consent import Consent
from adapterworks.gateway.tenants.keys import NewKey, key_id_of, new_key, state_of
from adapterworks.gateway.tenants.store import tenant_of
from adapterworks.gateway.tenants.tenant import Limits, Tenant, parse_allow
from adapterworks.manifests.errors import Conflict, InvalidInput, NotFound
from adapterworks.manifests.refs import check_name
from adapterworks.registry.datasets.owners import datasets_named
from adapterworks.registry.index.database import Database

LIMIT_NAMES = ("rpm", "tpm", "max_concurrency", "monthly_tokens")


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as it may be shown. Times are seconds since the epoch."""

    id: str
    created: float
    expires: float | None
    revoked: float | None

    @property
    def state(self) -> str:
        """`active`, `expired` or `revoked`."""
        return state_of(self.expires, self.revoked)


class TenantAdmin:
    """Admin actions of `who` on the tenants of an index."""

    def __init__(self, database: Database, *, who: str) -> None:
        migrate(database)
        self._database = database
        self._who = who

    def add(
        self, name: str, *, allow: tuple[str, ...], limits: Limits, weight: float = 1.0
    ) -> tuple[Tenant, NewKey]:
        """Add a tenant with its first key.

        Raises:
            InvalidInput: the name, a pattern or a limit is malformed.
            Conflict: there is a tenant of that name, or was one whose rows are still here.
        """
        check_name(name, "a tenant")
        values = _checked({"allow": allow, "weight": weight, **asdict(limits)})
        kept = datasets_named(self._database, name)
        with self._database.write() as connection:
            if _find(connection, name) is not None:
                raise Conflict(
                    f"there is a tenant `{name}` already",
                    hint=f"change it with `adapters tenant set {name}`, "
                    f"or add a key with `adapters tenant key add {name}`",
                )
            if kept and _was(connection, name):
                raise Conflict(
                    f"there was another tenant `{name}`, whose rows are in "
                    f"{', '.join(f'`dataset:{ref}`' for ref in kept)}: this one could learn them",
                    hint="choose another name; datasets know their tenant by it",
                )
            connection.execute(
                sa.insert(tenants).values(
                    id=f"tn_{secrets.token_hex(8)}",
                    name=name,
                    cache_salt=secrets.token_hex(16),
                    created=time.time(),
                    **{**values, "allow": json.dumps(values["allow"])},
                )
            )
            tenant = tenant_of(_get(connection, name))
            self._record(connection, "tenant.add", name, values)
            return tenant, self._insert_key(connection, tenant, expires=None)

    def set(self, name: str, changes: dict[str, Any]) -> Tenant:
        """Change `allow`, `weight`, `capture` or limits by name; None lifts a limit.

        `capture` is a `Consent`, or None: nothing is kept from now on.

        Raises:
            NotFound: there is no such tenant.
            InvalidInput: nothing to change, or a value is malformed.
        """
        if not changes:
            raise InvalidInput("nothing to change", hint="see `adapters tenant set --help`")
        values = _checked(changes)
        with self._database.write() as connection:
            before = _get(connection, name)
            stored = dict(values)
            if "allow" in stored:
                stored["allow"] = json.dumps(stored["allow"])
            if isinstance(stored.get("capture"), Consent):
                stored["capture"] = stored["capture"].to_json()
            connection.execute(sa.update(tenants).where(tenants.c.id == before.id).values(**stored))
            was = {field: before._mapping[field] for field in values if field != "allow"}
            if "allow" in values:
                was["allow"] = json.loads(before.allow)
            if "capture" in values:
                was["capture"] = before.capture and json.loads(before.capture)
                values["capture"] = stored["capture"] and json.loads(stored["capture"])
            self._record(connection, "tenant.set", name, {"from": was, "to": values})
            return tenant_of(_get(connection, name))

    def remove(self, name: str) -> None:
        """Remove a tenant: its keys stop working, its usage stays.

        Raises:
            NotFound: there is no such tenant.
        """
        with self._database.write() as connection:
            row = _get(connection, name)
            connection.execute(
                sa.update(tenants).where(tenants.c.id == row.id).values(removed=time.time())
            )
            self._record(connection, "tenant.remove", name, {"id": row.id})

    def list(self) -> list[Tenant]:
        """All tenants by name, without the removed ones."""
        query = sa.select(tenants).where(tenants.c.removed.is_(None)).order_by(tenants.c.name)
        with self._database.read() as connection:
            return [tenant_of(row) for row in connection.execute(query)]

    def show(self, name: str) -> tuple[Tenant, tuple[KeyRow, ...]]:
        """A tenant and all its keys, oldest first.

        Raises:
            NotFound: there is no such tenant.
        """
        with self._database.read() as connection:
            tenant = tenant_of(_get(connection, name))
            query = sa.select(keys).where(keys.c.tenant == tenant.id).order_by(keys.c.created)
            found = tuple(
                KeyRow(row.id, row.created, row.expires, row.revoked)
                for row in connection.execute(query)
            )
        return tenant, found

    def log(
        self, *, tenant: str | None = None, limit: int = 100, before: int | None = None
    ) -> Sequence[audit.AuditEntry]:
        """Who changed what, the newest first; see `audit.entries`."""
        return audit.entries(self._database, tenant=tenant, limit=limit, before=before)

    def add_key(self, name: str, *, expires: float | None = None) -> NewKey:
        """A further key; `expires` in seconds since the epoch.

        Raises:
            NotFound: there is no such tenant.
            InvalidInput: `expires` is not in the future.
        """
        if expires is not None and expires <= time.time():
            raise InvalidInput("a key cannot expire in the past")
        with self._database.write() as connection:
            return self._insert_key(connection, tenant_of(_get(connection, name)), expires=expires)

    def revoke_key(self, key: str) -> KeyRow:
        """Revoke a key by its id, or by its text (which is not stored and not logged).

        Raises:
            NotFound: no tenant has such a key.
            Conflict: it is revoked already.
        """
        key_id = key_id_of(key) or key.removeprefix("aw-")
        with self._database.write() as connection:
            row = connection.execute(
                sa.select(keys, tenants.c.name)
                .join(tenants, tenants.c.id == keys.c.tenant)
                .where(keys.c.id == key_id)
            ).one_or_none()
            if row is None:
                # The argument may be a mistyped key, so it is not quoted.
                raise NotFound("no tenant has that key", hint="see `adapters tenant show NAME`")
            if row.revoked is not None:
                raise Conflict(f"key `{key_id}` is revoked already")
            revoked = time.time()
            connection.execute(sa.update(keys).where(keys.c.id == key_id).values(revoked=revoked))
            self._record(connection, "key.revoke", row.name, {"key": key_id})
            return KeyRow(row.id, row.created, row.expires, revoked)

    def _insert_key(
        self, connection: Connection, tenant: Tenant, *, expires: float | None
    ) -> NewKey:
        key = new_key()
        connection.execute(
            sa.insert(keys).values(
                id=key.id,
                tenant=tenant.id,
                digest=key.digest,
                created=time.time(),
                expires=expires,
            )
        )
        self._record(connection, "key.add", tenant.name, {"key": key.id, "expires": expires})
        return key

    def _record(
        self, connection: Connection, action: str, tenant: str, details: dict[str, Any]
    ) -> None:
        audit.record(connection, who=self._who, action=action, tenant=tenant, details=details)
        connection.execute(sa.update(revision).values(value=revision.c.value + 1))


def tenant_known(database: Database, name: str) -> tuple[str, str]:
    """Id and name of a tenant by its name, or of one that was removed by its id.

    Raises:
        NotFound: there is, and was, no such tenant.
    """
    with database.read() as connection:
        known = connection.execute(sa.select(tenants).where(tenants.c.id == name)).first()
        row = _get(connection, name) if known is None else known
        return str(row.id), str(row.name)


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    """The values with patterns parsed and numbers in range."""
    checked = dict(values)
    if "allow" in checked:
        checked["allow"] = list(parse_allow(checked["allow"]))
    for name in LIMIT_NAMES:
        if checked.get(name) is not None and not 0 < checked[name] < 2**62:
            raise InvalidInput(f"`{name}` must be above zero, not `{checked[name]}`")
    if "weight" in checked and not 0.001 <= checked["weight"] <= 1000:
        raise InvalidInput(f"`weight` must be from 0.001 to 1000, not `{checked['weight']}`")
    return checked


def _was(connection: Connection, name: str) -> bool:
    """Whether a tenant of this name was removed."""
    query = sa.select(tenants.c.id).where(tenants.c.name == name, tenants.c.removed.is_not(None))
    return connection.execute(query).first() is not None


def _find(connection: Connection, name: str) -> Any:
    return connection.execute(
        sa.select(tenants).where(tenants.c.name == name, tenants.c.removed.is_(None))
    ).one_or_none()


def _get(connection: Connection, name: str) -> Any:
    row = _find(connection, name)
    if row is None:
        raise NotFound(f"there is no tenant `{name}`", hint="see `adapters tenant list`")
    return row
