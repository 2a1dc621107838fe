"""Signatures that no longer count, as the append-only log tells it.

    sign      key            by this key, from here on
    revoke    key, or ""     what this key, or every key, signed before does not count
    delete                   nor does what was signed of a version that was deleted

Invariant: the order is the log's, so no clock is asked, and it is the digest that is revoked: the
same bytes under another number, or pulled again with their signatures, stay revoked. Only who
signs it here anew, with the key in hand, has seen why it was taken back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.index import log, schema
from adapterworks.registry.releases.types import Event, Resolved

EVERY = ""

_log, _versions = schema.log, schema.versions


@dataclass
class Revocations:
    """What the log says of one digest's signatures: key id (or `EVERY`) → why they are void."""

    reasons: dict[str, str] = field(default_factory=dict)
    signed_again: set[str] = field(default_factory=set)

    def reason(self, key: str, *, received: bool = False) -> str | None:
        """Why a key's signature does not count; None if it does.

        Args:
            received: it came from elsewhere, so signing here again does not speak for it.
        """
        if not received and key in self.signed_again:
            return None
        return self.reasons.get(key) or self.reasons.get(EVERY)


def of(connection: Connection, digest: str) -> Revocations:
    """What was revoked of a digest, under whatever numbers it was listed."""
    query = (
        sa.select(_log.c.kind, _log.c.at, _log.c.who, _log.c.why, _log.c.data)
        .join(
            _versions, (_versions.c.name == _log.c.name) & (_versions.c.version == _log.c.version)
        )
        .where(_versions.c.digest == digest, _log.c.kind.in_(("sign", "revoke", "delete")))
        .order_by(_log.c.sequence)
    )
    found = Revocations()
    for row in connection.execute(query):
        key = json.loads(row.data).get("key", EVERY)
        if row.kind == "sign":
            found.signed_again.add(key)
            continue
        done = "revoked" if row.kind == "revoke" else "revoked with the version that was deleted"
        because = f": {row.why}" if row.why else ""
        found.reasons[key] = f"{done} by {row.who} on {row.at[:10]}{because}"
        if key == EVERY:
            found.signed_again.clear()
        found.signed_again.discard(key)
    return found


def revoke(connection: Connection, release: Resolved, key: str, *, who: str, why: str) -> Event:
    """Note that what a key (or `EVERY` one) signed of a release does not count."""
    return log.append(
        connection, release.name, "revoke", who=who, why=why, version=release.version, key=key
    )
