"""How often a tenant may write what stays and read what there is, and how many streams it may hold.

Inference has limits of its own (`limiter.py`), held by all gateways together. These are each
gateway's own: files, jobs, batches and feedback leave rows that are kept for as long as anybody may
ask for them, and lists are put together anew for whoever asks; so a loop of one client is stopped,
and nobody who works with them is.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adapterworks.gateway.admission.errors import RateLimited

WRITES_A_MINUTE = 1200
# A read is a request; what is answered counts too: a read more for each hundred rows of it.
READS_A_MINUTE = 6000
ROWS_A_READ = 100
STREAMS = 32
# Tenants that are remembered; whoever has been away for a while has all of its minute again.
_MOST_KNOWN = 10_000


class Rate:
    """A bucket for each tenant, refilled continuously; belongs to one event loop.

    Args:
        per_minute: of a tenant, also at once after a minute's rest.
        what: they are, for the error's message.
        clock: seconds.
    """

    def __init__(
        self, per_minute: int, what: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._what, self._clock = per_minute, what, clock
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, tenant: str) -> None:
        """One of a tenant's.

        Raises:
            RateLimited: it has had as many as there are.
        """
        left = self._now(tenant)
        if left < 1.0:
            wait = (1.0 - left) * 60.0 / self._most
            raise _limited(f"{self._most} {self._what} a minute are all there are", wait)
        self._put(tenant, left - 1.0)

    def charge(self, tenant: str, count: float) -> None:
        """What one that was taken has cost besides; the next ones wait for it."""
        self._put(tenant, self._now(tenant) - count)

    def _now(self, tenant: str) -> float:
        """How many are left to a tenant; less than none, if it owes some."""
        now = self._clock()
        left, at = self._left.get(tenant, (float(self._most), now))
        return min(float(self._most), left + (now - at) * self._most / 60.0)

    def _put(self, tenant: str, left: float) -> None:
        if len(self._left) >= _MOST_KNOWN and tenant not in self._left:
            self._left = {one: of for one, of in self._left.items() if self._now(one) < self._most}
        self._left[tenant] = left, self._clock()


class Streams:
    """The streams that each tenant holds open; belongs to one event loop.

    Args:
        most: of a tenant, open at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    @contextmanager
    def open(self, tenant: str) -> Iterator[None]:
        """A stream of a tenant's, for as long as the block lasts."""
        self._open[tenant] += 1
        try:
            yield
        finally:
            self._open[tenant] -= 1
            if not self._open[tenant]:
                del self._open[tenant]

    def require(self, tenant: str) -> None:
        """Ask whether a tenant may open another stream.

        Raises:
            RateLimited: it has as many as it may.
        """
        if self._open[tenant] >= self._most:
            raise _limited(f"{self._most} streams of yours are open, as many as may be", 5.0)


def _limited(why: str, wait: float) -> RateLimited:
    seconds = str(max(1, math.ceil(wait)))
    return RateLimited(
        why,
        headers={"retry-after": seconds},
        retry_after=wait,
        hint=f"try again in {seconds} s",
    )
