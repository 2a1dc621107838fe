"""Several gateways on one engine: in the index they say what they hold of it, and what they served.

So none takes away what another one needs, and all know whose turn it is.

Invariants:
- a gateway says that it holds an adapter before it has it loaded, and renews that; what a killed
  one held is forgotten after `HELD_SECONDS`, by the index's clock, also where that was set back;
- an adapter is unloaded by the last gateway that holds it, and by none while the index is away;
- who is told that it may be loaded is told so before the last one begins to unload it, or after.

What goes wrong all the same (an engine that was started again, a renewal that came late) is seen by
asking the engine what it lists, and by its 404.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from adapterworks.gateway.storage.schema import residents, totals
from adapterworks.registry.index.clock import now_s
from adapterworks.registry.index.database import Database

HELD_SECONDS = 60.0
RENEW_SECONDS = 10.0
_LOCK = "residents"
_PRESENT = ""  # in place of a digest: the gateway is there
# Before a holder: it holds nothing any more, and has the engine unload it.
_LEAVES = "leaves "


@dataclass(frozen=True, slots=True)
class Meeting:
    """What the others on an engine have said.

    Attributes:
        gateways: how many there are, this one too.
        elsewhere: tokens that the others have served since the last time, by tenant.
    """

    gateways: int
    elsewhere: dict[str, int]


class Sharing:
    """One gateway's (`holder`'s) word on the engines it shares. Blocking; call it from a thread."""

    def __init__(self, database: Database, holder: str) -> None:
        self._database = database
        self._holder = holder
        self._totals: dict[str, dict[str, int]] = {}

    def hold(self, engine: str, digests: Iterable[str]) -> bool:
        """Say, or say again, that these are held; returns whether nobody unloads one right now.

        Raises:
            Unavailable: the index does not answer.
        """
        wanted = sorted(set(digests))
        if not wanted:
            return True
        with self._database.write(lock=_LOCK) as connection:
            now = _now(connection)
            self._put(connection, engine, wanted, now)
            leaving = sa.select(sa.func.count()).where(
                residents.c.engine == engine,
                residents.c.digest.in_(wanted),
                residents.c.holder.startswith(_LEAVES),
                residents.c.holder != _LEAVES + self._holder,
                residents.c.expires >= now,
            )
            return not connection.scalar(leaving)

    def meet(self, engine: str, served: Mapping[str, int]) -> Meeting:
        """Say that one is here, and what one has served since the last time.

        Args:
            served: tokens by tenant.

        Raises:
            Unavailable: the index does not answer; `served` is to be said again.
        """
        seen = self._totals.get(engine)
        here = totals.c.engine == engine
        add = (sqlite if self._database.is_sqlite else postgresql).insert(totals)
        rows = [
            {"engine": engine, "tenant": tenant, "tokens": tokens}
            for tenant, tokens in sorted(served.items())
        ]
        with self._database.write(lock=_LOCK) as connection:
            now = _now(connection)
            self._put(connection, engine, [_PRESENT], now)
            if rows:
                added = totals.c.tokens + add.excluded.tokens
                connection.execute(
                    add.on_conflict_do_update(
                        index_elements=["engine", "tenant"], set_={"tokens": added}
                    ),
                    rows,
                )
            present = connection.scalar(
                sa.select(sa.func.count()).where(
                    residents.c.engine == engine,
                    residents.c.digest == _PRESENT,
                    residents.c.expires >= now,
                )
            )
            found = connection.execute(sa.select(totals.c.tenant, totals.c.tokens).where(here))
            standing = {tenant: int(tokens) for tenant, tokens in found}
        self._totals[engine] = standing
        before = standing if seen is None else seen  # what was served before one came is past
        elsewhere = {
            tenant: tokens - before.get(tenant, 0) - served.get(tenant, 0)
            for tenant, tokens in standing.items()
        }
        if seen is None:
            elsewhere = {}
        return Meeting(int(present or 1), {t: n for t, n in elsewhere.items() if n})

    def let_go(self, engine: str, digest: str) -> bool:
        """Hold it no more; returns whether nobody else does, so that it can be unloaded: others
        that want it wait until `gone` says that it was.

        Raises:
            Unavailable: the index does not answer.
        """
        here = (residents.c.engine == engine) & (residents.c.digest == digest)
        with self._database.write(lock=_LOCK) as connection:
            now = _now(connection)
            connection.execute(
                sa.delete(residents).where(
                    here & (residents.c.holder == self._holder) | (residents.c.expires < now)
                )
            )
            held = here & ~residents.c.holder.startswith(_LEAVES)
            if connection.scalar(sa.select(sa.func.count()).where(held)):
                return False
            self._put(connection, engine, [digest], now, _LEAVES)
        return True

    def gone(self, engine: str, digest: str) -> None:
        """It was unloaded.

        Raises:
            Unavailable: the index does not answer; others wait for `HELD_SECONDS` at most.
        """
        with self._database.write(lock=_LOCK) as connection:
            connection.execute(
                sa.delete(residents).where(
                    residents.c.engine == engine,
                    residents.c.digest == digest,
                    residents.c.holder == _LEAVES + self._holder,
                )
            )

    def _put(
        self,
        connection: Connection,
        engine: str,
        digests: Iterable[str],
        now: float,
        what: str = "",
    ) -> None:
        insert = (sqlite if self._database.is_sqlite else postgresql).insert(residents)
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=["engine", "digest", "holder"],
                set_={"expires": insert.excluded.expires},
            ),
            [
                {
                    "engine": engine,
                    "digest": d,
                    "holder": what + self._holder,
                    "expires": now + HELD_SECONDS,
                }
                for d in digests
            ],
        )

    def end(self) -> None:
        """Hold nothing any more.

        Raises:
            Unavailable: the index does not answer.
        """
        with self._database.write(lock=_LOCK) as connection:
            mine = (self._holder, _LEAVES + self._holder)
            connection.execute(sa.delete(residents).where(residents.c.holder.in_(mine)))


def _now(connection: Connection) -> float:
    """The index's clock; what is held for longer than anybody says was said before it went back."""
    now = now_s(connection)
    longest = now + HELD_SECONDS
    connection.execute(
        sa.update(residents).where(residents.c.expires > longest).values(expires=longest)
    )
    return now
