"""How often a tenant may write what stays, and how many streams of events it may hold open.

Inference has limits of its own (`limiter.py`), held by all gateways together. These are each
gateway's own: files, jobs, batches and feedback leave rows that are kept for as long as anybody may
ask for them, so a loop of one client is stopped, and nobody who works with them is.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adapterworks.gateway.admission.errors import RateLimited

WRITES_A_MINUTE = 1200
STREAMS = 32
# Tenants that are remembered; whoever has written nothing for a minute has all of its writes.
_MOST_KNOWN = 10_000


class Writes:
    """A bucket of writes for each tenant, refilled continuously; belongs to one event loop.

    Args:
        per_minute: writes of a tenant, also at once after a minute's rest.
        streams: of a tenant, open at once.
        clock: seconds.
    """

    def __init__(
        self,
        per_minute: int = WRITES_A_MINUTE,
        streams: int = STREAMS,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._streams, self._clock = per_minute, streams, clock
        self._left: dict[str, tuple[float, float]] = {}
        self._open: Counter[str] = Counter()

    def take(self, tenant: str) -> None:
        """One write of a tenant.

        Raises:
            RateLimited: it has had as many as there are.
        """
        now = self._clock()
        left, at = self._left.get(tenant, (float(self._most), now))
        left = min(float(self._most), left + (now - at) * self._most / 60.0)
        if left < 1.0:
            wait = (1.0 - left) * 60.0 / self._most
            raise _limited(f"{self._most} writes a minute are all there are", wait)
        if len(self._left) >= _MOST_KNOWN and tenant not in self._left:
            self._forget(now)
        self._left[tenant] = left - 1.0, now

    @contextmanager
    def stream(self, tenant: str) -> Iterator[None]:
        """A stream of a tenant's, for as long as the block lasts."""
        self._open[tenant] += 1
        try:
            yield
        finally:
            self._open[tenant] -= 1
            if not self._open[tenant]:
                del self._open[tenant]

    def require_stream(self, tenant: str) -> None:
        """Ask whether a tenant may open another stream.

        Raises:
            RateLimited: it has as many as it may.
        """
        if self._open[tenant] >= self._streams:
            raise _limited(f"{self._streams} streams of yours are open, as many as may be", 5.0)

    def _forget(self, now: float) -> None:
        self._left = {
            tenant: (left, at) for tenant, (left, at) in self._left.items() if now - at < 60.0
        }


def _limited(why: str, wait: float) -> RateLimited:
    seconds = str(max(1, math.ceil(wait)))
    return RateLimited(
        why,
        headers={"retry-after": seconds},
        retry_after=wait,
        hint=f"try again in {seconds} s",
    )
