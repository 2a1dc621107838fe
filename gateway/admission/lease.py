"""One gateway's leases on what all gateways share: units taken in small batches, spent in memory.

Invariant: a request is admitted with units that were taken from the shared bucket before, so
several gateways never admit more than the limit together. What a lease holds unused is given back
after `IDLE_SECONDS`; a gateway that is killed loses it (the limit is then lower for a moment, never
higher). Only a request that turns out larger than its estimate can exceed the bucket; the excess is
charged to it as debt before anything else is taken.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import Literal

from adapterworks.gateway.admission.ledger import Draw, Grant, Hold
from adapterworks.gateway.admission.shared import SharedLedger

LEASE_SHARE = 1 / 20  # of the minute's limit: 20 to 40 transactions a minute, whatever the traffic
SLOT_SHARE = 1 / 8
IDLE_SECONDS = 2.0
MIN_WAIT = 0.05  # a refused tenant that hammers causes at most 20 transactions a second


class RateLease:
    """Leased units of one tenant's bucket (`requests` or `tokens`)."""

    def __init__(
        self, ledger: SharedLedger, tenant: str, kind: Literal["requests", "tokens"]
    ) -> None:
        self._ledger = ledger
        self._tenant = tenant
        self._kind = kind
        self._lock = asyncio.Lock()
        self.per_minute = 0
        self.units = 0
        self._debt = 0
        self._left = math.inf  # in the shared bucket, when last seen
        self._seen = self._used = time.monotonic()
        self._refused_until = 0.0
        self._refused_need = 0

    async def take(self, need: int, per_minute: int) -> float:
        """Take `need` units; returns 0.0, or the seconds until they may be there.

        Runs no SQL and does not suspend while the lease lasts.
        """
        self.per_minute = per_minute
        if need > per_minute:
            return math.inf
        if not self._lock.locked() and self._spend(need):
            return 0.0
        async with self._lock:
            if self._spend(need):
                return 0.0
            now = time.monotonic()
            if now < self._refused_until and need >= self._refused_need:
                return self._refused_until - now
            # Shielded: a client that leaves now must not lose units that are being taken.
            wait = await asyncio.shield(asyncio.ensure_future(self._draw(need)))
            return 0.0 if self._spend(need) else max(wait, MIN_WAIT)

    def give(self, units: int) -> None:
        """Put units back, or (negative) charge what was used beyond the estimate."""
        balance = self.units - self._debt + units
        self.units, self._debt = max(balance, 0), max(-balance, 0)

    def idle(self, now: float) -> bool:
        """Whether nothing was taken for a while."""
        return now - self._used > IDLE_SECONDS

    @property
    def owes(self) -> bool:
        """Whether there are units to give back, or a debt to charge."""
        return bool(self.per_minute and (self.units or self._debt))

    async def flush(self) -> None:
        """Give unused units back and charge debt."""
        if self.owes:
            debt, self.units, self._debt = self._debt - self.units, 0, 0
            await self._apply(debt, need=0, want=0)

    @property
    def remaining(self) -> int:
        """Units left now, as far as this gateway knows; exact while it is alone."""
        refilled = (time.monotonic() - self._seen) * self.per_minute / 60
        shared = min(float(self.per_minute), self._left + refilled)
        return max(0, min(self.per_minute, int(shared + self.units - self._debt + 1e-6)))

    @property
    def reset(self) -> float:
        """Seconds until the whole limit is there again."""
        return (self.per_minute - self.remaining) * 60 / self.per_minute

    def _spend(self, need: int) -> bool:
        self._used = time.monotonic()
        if self.units < need:
            return False
        self.units -= need
        return True

    async def _draw(self, need: int) -> float:
        debt, self._debt = self._debt, 0
        missing = max(0, need - self.units)
        want = max(missing, math.ceil(self.per_minute * LEASE_SHARE))
        grant = await self._apply(debt, need=missing, want=want)
        self.units += grant.granted
        if grant.wait:
            self._refused_until = time.monotonic() + max(grant.wait, MIN_WAIT)
            self._refused_need = need
        return grant.wait

    async def _apply(self, debt: int, *, need: int, want: int) -> Grant:
        draw = Draw(self._tenant, self._kind, self.per_minute, need, want, debt)
        try:
            grant = await self._ledger.apply(draw)
        except BaseException:
            self.give(-debt)
            raise
        self._left, self._seen = grant.left, time.monotonic()
        return grant


class SlotLease:
    """Leased concurrency slots of one tenant."""

    def __init__(self, ledger: SharedLedger, tenant: str) -> None:
        self._ledger = ledger
        self._tenant = tenant
        self._lock = asyncio.Lock()
        self._telling = (
            asyncio.Lock()
        )  # what the ledger is told are absolute numbers: one at a time
        self.limit = 0
        self.held = 0
        self.used = 0
        self._used_at = time.monotonic()
        self._refused_until = 0.0
        self._refused_count = 0

    async def take(self, limit: int, count: int = 1) -> bool:
        """Take `count` slots, if there are as many."""
        self.limit = limit
        if not self._lock.locked() and self._use(count):
            return True
        async with self._lock:
            if self._use(count):
                return True
            if time.monotonic() < self._refused_until and count >= self._refused_count:
                return False
            await asyncio.shield(asyncio.ensure_future(self._hold(count)))
            return self._use(count)

    def give(self, count: int = 1) -> None:
        """Put slots back."""
        self.used -= count

    def idle(self, now: float) -> bool:
        """Whether no slot was taken for a while."""
        return now - self._used_at > IDLE_SECONDS

    async def flush(self) -> None:
        """Renew what is in use and let go of the rest."""
        async with self._telling:
            if self.held:
                self.held = self.used
                await self._ledger.apply(Hold(self._tenant, self.limit, self.used))

    async def renew(self) -> None:
        """Renew what is held, before the others may take it."""
        async with self._telling:
            if self.held:
                await self._ledger.apply(Hold(self._tenant, self.limit, self.held))

    def _use(self, count: int) -> bool:
        self._used_at = time.monotonic()
        if self.used + count > min(self.held, self.limit):
            return False
        self.used += count
        return True

    async def _hold(self, count: int) -> None:
        async with self._telling:
            granted = 0
            need = count - (self.held - self.used)
            if need > 0 and self.held < self.limit:
                want = max(need, math.ceil(self.limit * SLOT_SHARE))
                hold = Hold(self._tenant, self.limit, self.held, need=need, want=want)
                granted = (await self._ledger.apply(hold)).granted
                self.held += granted
        if not granted:
            self._refused_until = time.monotonic() + MIN_WAIT
            self._refused_count = count
