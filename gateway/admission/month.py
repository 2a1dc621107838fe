"""The month's token budget, from what metering has counted.

Invariant: what counts as spent is never less than the metered total of at most `FRESH_SECONDS` ago
plus everything this gateway has admitted since. A token that is both in the total and still in this
gateway's memory counts twice for `LAG_SECONDS`: the budget is then reached early for a moment,
never late. While this gateway's meter cannot write to the index, what it has counted stays in
memory. The budget is used up only when the metered total says so: what is in flight may give back.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from adapterworks.gateway.admission.shared import SharedLedger
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.manifests.errors import Unavailable

FRESH_SECONDS = 1.0  # after this the total is read again, beside the requests
STALE_SECONDS = 5.0  # after this a request waits for the reading
LAG_SECONDS = 2.0  # from an answer's end until the index has its event, where the meter can write
_DURABLE_S = 0.5  # from an answer's end until its event is on the disk
_TOGETHER_S = 0.1  # answers that end within it are kept as one number


class Month:
    """One tenant's budget in this gateway.

    Args:
        counted: the monotonic time up to which the index has what this gateway has metered.
    """

    def __init__(
        self,
        ledger: SharedLedger,
        tenant: str,
        supervisor: Supervisor,
        counted: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._counted = counted
        self._ledger = ledger
        self._tenant = tenant
        self._supervisor = supervisor
        self._month = ""
        self._total = 0
        self._read_at = -STALE_SECONDS
        self._in_flight = 0
        self._settled: deque[tuple[float, int]] = deque()
        self._settled_sum = 0
        self._reading: asyncio.Task[None] | None = None

    async def take(self, estimated: int, budget: int, *, least: int | None = None) -> int | None:
        """Reserve `estimated` tokens, or what the budget still has of them; returns how many.

        Args:
            least: what it must have; all of them if it is not said.

        Returns:
            None where it has not as many now; `lacks` says whether that will change this month.
        """
        least = estimated if least is None else least
        age = time.monotonic() - self._read_at
        if age > FRESH_SECONDS or self._month != _this_month():
            if self._reading is None or self._reading.done():
                # While the index is away it is read again by the next request, which waits for it
                # once what is known is stale.
                self._reading = self._supervisor.once(
                    "month's tokens", self._read(), expected=(Unavailable,)
                )
            if age > STALE_SECONDS or self._month != _this_month():
                await asyncio.shield(self._reading)
        left = budget - self._total - self._settled_sum - self._in_flight
        if least > left:
            return None
        taken = max(least, min(estimated, left))
        self._in_flight += taken
        return taken

    def lacks(self, least: int, budget: int) -> bool:
        """Whether the budget has not as many for this month, whatever is given back."""
        return least > budget - self._total

    def settle(self, estimated: int, tokens: int) -> None:
        """Replace a reservation by what was used."""
        self._in_flight -= estimated
        if tokens:
            now = time.monotonic()
            if self._settled and now - self._settled[-1][0] < _TOGETHER_S:
                began, before = self._settled.pop()
                self._settled.append((began, before + tokens))
            else:
                self._settled.append((now, tokens))
            self._settled_sum += tokens

    def seconds_left(self) -> float:
        """Seconds until the next month begins, UTC."""
        now = datetime.now(UTC)
        year, month = (now.year + 1, 1) if now.month == 12 else (now.year, now.month + 1)
        return (datetime(year, month, 1, tzinfo=UTC) - now).total_seconds()

    async def _read(self) -> None:
        asked, month = time.monotonic(), _this_month()
        total = await self._ledger.spent_since(self._tenant, f"{month}-01")
        self._total, self._read_at, self._month = total, asked, month
        sure = min(asked - LAG_SECONDS, self._counted() - _DURABLE_S)
        while self._settled and self._settled[0][0] < sure:
            self._settled_sum -= self._settled.popleft()[1]


def _this_month() -> str:
    now = datetime.now(UTC)
    return f"{now.year:04d}-{now.month:02d}"
