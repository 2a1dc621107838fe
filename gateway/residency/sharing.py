"""Several gateways on one engine: who holds what there, in the index, so that none takes it away.

Invariants:
- a gateway says that it holds an adapter before it has it loaded, and renews that; what a killed
  one held is forgotten after `HELD_SECONDS`;
- an adapter is unloaded by the last gateway that holds it, and by none while the index is away.

What goes wrong all the same (an engine that was started again, a renewal that came late) is seen by
asking the engine what it lists, and by its 404.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from adapterworks.gateway.storage.schema import residents
from adapterworks.registry.index.database import Database

HELD_SECONDS = 60.0
RENEW_SECONDS = 10.0
_LOCK = "residents"


class Sharing:
    """One gateway's (`holder`'s) word on the engines it shares. Blocking; call it from a thread."""

    def __init__(self, database: Database, holder: str) -> None:
        self._database = database
        self._holder = holder

    def hold(self, engine: str, digests: Iterable[str]) -> None:
        """Say, or say again, that these are held.

        Raises:
            Unavailable: the index does not answer.
        """
        expires = time.time() + HELD_SECONDS
        dialect = sqlite if self._database.is_sqlite else postgresql
        rows = [
            {"engine": engine, "digest": digest, "holder": self._holder, "expires": expires}
            for digest in sorted(set(digests))
        ]
        if not rows:
            return
        insert = dialect.insert(residents)
        with self._database.write(lock=_LOCK) as connection:
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=["engine", "digest", "holder"],
                    set_={"expires": insert.excluded.expires},
                ),
                rows,
            )

    def let_go(self, engine: str, digest: str) -> bool:
        """Hold it no more; returns whether nobody else does, so that it can be unloaded.

        Raises:
            Unavailable: the index does not answer.
        """
        here = (residents.c.engine == engine) & (residents.c.digest == digest)
        with self._database.write(lock=_LOCK) as connection:
            connection.execute(
                sa.delete(residents).where(
                    here & (residents.c.holder == self._holder)
                    | (residents.c.expires < time.time())
                )
            )
            others = connection.scalar(sa.select(sa.func.count()).where(here))
        return not others

    def end(self) -> None:
        """Hold nothing any more.

        Raises:
            Unavailable: the index does not answer.
        """
        with self._database.write(lock=_LOCK) as connection:
            connection.execute(sa.delete(residents).where(residents.c.holder == self._holder))
