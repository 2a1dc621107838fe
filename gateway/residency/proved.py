"""Which releases were proved on which kind of engine: what one gateway has found out, for all.

A kind is all that an engine's numbers depend on (`ServedBase.kind`). Where a release was proved on
one engine of a kind, others of it check one probe that tells the adapter from its base: that it is
this adapter, and that it is applied. Anything but a match is followed by the whole proof.

Invariant: a row is written after a whole proof that passed, and removed by one that failed.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from adapterworks.gateway.residency.verdict import Proof
from adapterworks.gateway.storage.schema import proofs
from adapterworks.registry.index.clock import now_s
from adapterworks.registry.index.database import Database

_LOCK = "proofs"


class Proved:
    """The gateways' common memory of proofs. Blocking; call it from a thread.

    All of it raises `Unavailable` if the index does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_proved(self, release: str, kind: str) -> bool:
        """Whether a release was proved on an engine of this kind."""
        here = (proofs.c.release == release) & (proofs.c.kind == kind)
        with self._database.read() as connection:
            return connection.scalar(sa.select(proofs.c.release).where(here)) is not None

    def note(self, release: str, kind: str, proof: Proof) -> None:
        """A whole proof has passed."""
        insert = (sqlite if self._database.is_sqlite else postgresql).insert(proofs)
        with self._database.write(lock=_LOCK) as connection:
            values = {
                "release": release,
                "kind": kind,
                "at": now_s(connection),
                "divergence": proof.divergence,
                "separation": proof.separation,
            }
            connection.execute(insert.on_conflict_do_nothing(), values)

    def forget(self, release: str, kind: str) -> None:
        """A whole proof has failed."""
        here = (proofs.c.release == release) & (proofs.c.kind == kind)
        with self._database.write(lock=_LOCK) as connection:
            connection.execute(sa.delete(proofs).where(here))
