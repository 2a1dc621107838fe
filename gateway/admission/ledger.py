"""The part of the limits that all gateways share: token buckets and concurrency slots in SQL.

A bucket of `per_minute` units is a single number, the time at which it is full again (the
theoretical arrival time of GCRA, ITU-T I.371): taking n units moves it by n · 60 / per_minute
seconds, and `per_minute` units are there at most. Changing a limit therefore needs no migration of
levels. The clock is the database's, so hosts whose clocks differ agree. The time when it was last
looked at is kept beside the buckets: where the clock is before that it was set back, and everything
is set back with it, or a tenant would wait for as long as the clock went back.

Invariant: units are taken from the shared bucket before they are used, inside the one write
transaction there can be, so no number of gateways together ever takes more than the bucket has.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from adapterworks.gateway.storage.schema import buckets, slots, usage_days
from adapterworks.registry.index.database import Database

_LOCK = "limits"
_log = logging.getLogger(__name__)
_CLOCK = {"tenant": "", "kind": "clock"}  # the row whose `full_at` is when one looked last
_STEP_SECONDS = 1.0  # of the clock that is nobody's doing
SLOT_SECONDS = 15.0  # a gateway that died keeps its slots no longer than this


@dataclass(frozen=True, slots=True)
class Draw:
    """Take from a bucket: first `debt` (used already; negative gives back), then at least `need`,
    better `want` units."""

    tenant: str
    kind: Literal["requests", "tokens"]
    per_minute: int
    need: int
    want: int
    debt: int = 0


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the `used` concurrency slots of a tenant (and renew them), and take at least `need`,
    better `want` more, of `limit` in all. All zero lets go of everything."""

    tenant: str
    limit: int
    used: int
    need: int = 0
    want: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """What came of it.

    Attributes:
        granted: units or slots taken; 0 when fewer than `need` are there.
        left: units still in the bucket, or slots still free.
        wait: seconds until `need` units are there (0 when granted).
    """

    granted: int
    left: float
    wait: float


class Ledger:
    """The shared state, as one gateway (`holder`) sees it. Blocking; call it from a thread."""

    def __init__(self, database: Database, holder: str, *, metered: Database | None = None) -> None:
        """Keep the state in `database`.

        Args:
            metered: where the metered tokens are; the same one if it is not said.
        """
        self._database = database
        self._metered = metered or database
        self._holder = holder

    def apply(self, operations: Sequence[Draw | Hold]) -> list[Grant]:
        """Apply all operations in order in one transaction."""
        with self._database.write(lock=_LOCK) as connection:
            now = self._now(connection)
            self._follow(connection, now)
            return [
                self._draw(connection, operation, now)
                if isinstance(operation, Draw)
                else self._hold(connection, operation, now)
                for operation in operations
            ]

    def spent_since(self, tenant: str, first_day: str) -> int:
        """Metered tokens of a tenant from `first_day` (`2026-11-01`) on."""
        tokens = usage_days.c.prompt_tokens + usage_days.c.completion_tokens
        query = sa.select(sa.func.coalesce(sa.func.sum(tokens), 0)).where(
            usage_days.c.tenant == tenant, usage_days.c.day >= first_day
        )
        with self._metered.read() as connection:
            return int(connection.scalar(query) or 0)

    def _follow(self, connection: Connection, now: float) -> None:
        """Where the clock was set back since the last time, set back what was timed by it."""
        clock = (buckets.c.tenant == _CLOCK["tenant"]) & (buckets.c.kind == _CLOCK["kind"])
        last = connection.scalar(sa.select(buckets.c.full_at).where(clock))
        if last is not None and abs(now - last) < _STEP_SECONDS:
            return
        if last is not None and now < last:
            _log.warning("the clock of the limits was set back by %.0f s", last - now)
            back = last - now
            connection.execute(sa.update(buckets).values(full_at=buckets.c.full_at - back))
            connection.execute(sa.update(slots).values(expires=slots.c.expires - back))
        self._put(connection, buckets, _CLOCK, full_at=now)

    def _draw(self, connection: Connection, draw: Draw, now: float) -> Grant:
        here = (buckets.c.tenant == draw.tenant) & (buckets.c.kind == draw.kind)
        seconds = 60.0 / draw.per_minute  # to refill one unit
        full_at = connection.scalar(sa.select(buckets.c.full_at).where(here)) or 0.0
        full_at = max(full_at, now) + draw.debt * seconds
        left = draw.per_minute - max(0.0, full_at - now) / seconds
        # A millionth of a unit is rounding of the division above, not a missing unit.
        granted = min(draw.want, int(left + 1e-6))
        if granted < draw.need:
            granted = 0
        full_at += granted * seconds
        self._put(connection, buckets, {"tenant": draw.tenant, "kind": draw.kind}, full_at=full_at)
        wait = max(0.0, draw.need - left) * seconds if granted < draw.need else 0.0
        return Grant(granted, left - granted, wait)

    def _hold(self, connection: Connection, hold: Hold, now: float) -> Grant:
        of_tenant = slots.c.tenant == hold.tenant
        mine = of_tenant & (slots.c.holder == self._holder)
        theirs = of_tenant & (slots.c.holder != self._holder)
        connection.execute(sa.delete(slots).where(theirs, slots.c.expires <= now))
        held_by_others = sa.select(sa.func.coalesce(sa.func.sum(slots.c.held), 0)).where(theirs)
        others = connection.scalar(held_by_others)
        # What is in use stays counted, even if the limit was lowered meanwhile.
        free = max(0, hold.limit - int(others or 0) - hold.used)
        granted = min(hold.want, free)
        if granted < hold.need:
            granted = 0
        if hold.used + granted == 0:
            connection.execute(sa.delete(slots).where(mine))
        else:
            key = {"tenant": hold.tenant, "holder": self._holder}
            expires = now + SLOT_SECONDS
            self._put(connection, slots, key, held=hold.used + granted, expires=expires)
        return Grant(granted, float(free - granted), 0.0)

    def _put(
        self, connection: Connection, table: sa.Table, key: dict[str, str], **values: float
    ) -> None:
        dialect = sqlite if self._database.is_sqlite else postgresql
        connection.execute(
            dialect.insert(table)
            .values(**key, **values)
            .on_conflict_do_update(index_elements=list(key), set_=values)
        )

    def _now(self, connection: Connection) -> float:
        if self._database.is_sqlite:  # one host
            return time.time()
        return float(
            connection.scalar(sa.text("SELECT extract(epoch FROM clock_timestamp())")) or 0
        )
