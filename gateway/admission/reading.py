"""Where bodies are parsed: small ones at once, large ones beside the loop, one tenant's in turn.

Invariant: what one tenant sends takes the loop no longer than a small body does, and one thread no
more than half of the time, whatever it sends and before any limit is asked; the others' bodies wait
for one of its at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from adapterworks.gateway.admission.errors import RateLimited

T = TypeVar("T")

SMALL = 32 * 1024  # bytes that are parsed in a millisecond or two, whatever they are
MOST_WAITING = 128  # of a tenant's large bodies, which are held while they wait
_MOST_KNOWN = 1000  # tenants


@dataclass(slots=True)
class _Turn:
    """A tenant's: one body at a time.

    Attributes:
        waiting: bodies that are not parsed yet.
        after: monotonic time before which it has no other.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    after: float = 0.0


class Reading:
    """Parses what clients send; belongs to one event loop."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bodies")

    async def of(self, tenant: str, size: int, parse: Callable[[], T]) -> T:
        """What `parse` makes of a body of so many bytes.

        Raises:
            RateLimited: too many large ones of this tenant wait.
            Exception: what `parse` raises.
        """
        if size <= SMALL:
            return parse()
        turn = self._turn(tenant)
        if turn.waiting >= MOST_WAITING:
            what = f"{MOST_WAITING} large requests of yours wait to be read, as many as may"
            headers = {"retry-after": "1"}
            raise RateLimited(what, headers=headers, retry_after=1.0, hint="send fewer at once")
        turn.waiting += 1
        try:
            async with turn.lock:
                await asyncio.sleep(turn.after - time.monotonic())
                return await asyncio.get_running_loop().run_in_executor(
                    self._thread, _timed, turn, parse
                )
        finally:
            turn.waiting -= 1

    def close(self) -> None:
        """Parse nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _turn(self, tenant: str) -> _Turn:
        if len(self._turns) >= _MOST_KNOWN and tenant not in self._turns:
            now = time.monotonic()
            self._turns = {t: u for t, u in self._turns.items() if u.waiting or u.after > now}
        return self._turns.setdefault(tenant, _Turn())


def _timed(turn: _Turn, parse: Callable[[], T]) -> T:
    """Parse, and leave the thread to others for as long as that took."""
    began = time.monotonic()
    try:
        return parse()
    finally:
        ended = time.monotonic()
        turn.after = ended + (ended - began)
