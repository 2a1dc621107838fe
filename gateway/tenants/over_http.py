"""`TenantAdmin` on a registry's server: the same actions, with an administrator's token.

Invariant: what was made or is to be revoked travels in bodies and answers; a key's text is in no
address, which a proxy may log.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from adapterworks.gateway.tenants.admin import LIMIT_NAMES, KeyRow
from adapterworks.gateway.tenants.audit import AuditEntry
from adapterworks.gateway.tenants.consent import Consent
from adapterworks.gateway.tenants.erasing import Held
from adapterworks.gateway.tenants.keys import NewKey, digest_key, key_id_of
from adapterworks.gateway.tenants.tenant import Limits, Tenant
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.remotes.http.link import Link, part

_SALT = ""  # never leaves the server
_LONGEST_ID = 16
_Told = dict[str, Any]


class TenantsOverHttp:
    """Admin actions of the token's person on the tenants of a server."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def add(
        self, name: str, *, allow: tuple[str, ...], limits: Limits, weight: float = 1.0
    ) -> tuple[Tenant, NewKey]:
        """As `TenantAdmin.add`."""
        said = {"name": name, "allow": list(allow), "weight": weight, **asdict(limits)}
        told = self._link.post("/tenants", _Told, **said)
        return _tenant(told), _new_key(told)

    def set(self, name: str, changes: Mapping[str, Any]) -> Tenant:
        """As `TenantAdmin.set`, but for what is captured.

        Raises:
            InvalidInput: `capture` is to change, which is agreed where the exchanges are kept.
        """
        if "capture" in changes:
            raise InvalidInput(
                "what is captured of a tenant is not said over HTTP",
                hint="use `adapters tenant set --capture` on the machine of the registry",
            )
        said = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in changes.items()
        }
        return _tenant(self._link.post(f"/tenants/{part(name)}", _Told, **said))

    def remove(self, name: str) -> None:
        """As `TenantAdmin.remove`."""
        self._link.post(f"/tenants/{part(name)}/removal", _Told)

    def list(self) -> list[Tenant]:
        """As `TenantAdmin.list`."""
        return [_tenant(told) for told in self._link.pages("/tenants", _Told)]

    def show(self, name: str) -> tuple[Tenant, tuple[KeyRow, ...]]:
        """As `TenantAdmin.show`."""
        told = self._link.get(f"/tenants/{part(name)}", _Told)
        return _tenant(told), tuple(map(_key, told["keys"]))

    def add_key(self, name: str, *, expires: float | None = None) -> NewKey:
        """As `TenantAdmin.add_key`; how long it works is counted by the server's clock."""
        seconds = None if expires is None else max(1, round(expires - time.time()))
        return _new_key(self._link.post(f"/tenants/{part(name)}/keys", _Told, seconds=seconds))

    def revoke_key(self, key: str) -> KeyRow:
        """As `TenantAdmin.revoke_key`: of a key's text no more than its id is sent."""
        found = key_id_of(key)
        if found is None and len(key) > _LONGEST_ID:
            raise InvalidInput(
                "that is no key of a tenant, and too long for a key's id",
                hint="name it by its id: `adapters tenant key list NAME`",
            )
        told = self._link.post(f"/keys/{part(found or key)}/revocation", _Told)
        return _key(told)

    def log(
        self, *, tenant: str | None, limit: int, before: int | None = None
    ) -> Sequence[AuditEntry]:
        """As `audit.entries`."""
        found = self._link.page("/tenant-log", _Told, limit=limit, after=before, tenant=tenant)
        return [
            AuditEntry(
                int(told["sequence"]),
                float(told["at"]),
                str(told["who"]),
                str(told["action"]),
                str(told["tenant"]),
                dict(told["details"]),
            )
            for told in found
        ]


class TenantErasureOverHttp:
    """`TenantErasure` on a registry's server."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def look(self, name: str) -> Held:
        """As `TenantErasure.look`."""
        return self._link.get(f"/tenants/{part(name)}/holding", Held)

    def erase(self, name: str, *, who: str, why: str) -> Held:
        """As `TenantErasure.erase`; who it was is the token's person."""
        return self._link.post(f"/tenants/{part(name)}/erasure", Held, why=why)


def _tenant(told: Mapping[str, Any]) -> Tenant:
    capture = told["capture"]
    return Tenant(
        id=str(told["id"]),
        name=str(told["name"]),
        allow=tuple(told["allow"]),
        cache_salt=_SALT,
        limits=Limits(**{name: told[name] for name in LIMIT_NAMES}),
        weight=float(told["weight"]),
        consent=None
        if capture is None
        else Consent(**{**capture, "adapters": tuple(capture["adapters"])}),
    )


def _key(told: Mapping[str, Any]) -> KeyRow:
    return KeyRow(str(told["id"]), told["created"], told["expires"], told["revoked"])


def _new_key(told: Mapping[str, Any]) -> NewKey:
    text = str(told["key"])
    return NewKey(str(told["key_id"]), digest_key(text), text)
