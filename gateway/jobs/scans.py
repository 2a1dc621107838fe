"""Stored files are looked through for somebody who waits: a few at a time, the rest wait.

Invariants:
- however many ask, so few threads read rows; all else goes through the same few threads;
- one tenant's leave room for others'.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from adapterworks.gateway.request.leaving import in_thread
from adapterworks.manifests.errors import Unavailable

_AT_ONCE = 2
_MOST_WAITING = 16
_MOST_OF_ONE = 6  # tenant's, those that are looked through among them
_AGAIN_S = 2.0
T = TypeVar("T")


class Scans:
    """Runs what reads whole files."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._here: Counter[str] = Counter()

    async def run(self, tenant: str, look: Callable[[], T]) -> T:
        """Run it in a thread when it is its turn; one that is cancelled before then is not run.

        Raises:
            Unavailable: too many wait already, of all or of this tenant's.
        """
        if self._here[tenant] >= _MOST_OF_ONE or self._here.total() >= _MOST_WAITING:
            raise Unavailable("too many files wait to be looked through", retry_after=_AGAIN_S)
        self._here[tenant] += 1
        try:
            async with self._turns:
                return await in_thread(look)
        finally:
            self._here[tenant] -= 1
            if not self._here[tenant]:
                del self._here[tenant]
