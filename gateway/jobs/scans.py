"""Stored rows are looked through before there is a job: a few files at a time, the rest wait.

Invariant: however many ask, so few threads read rows; all else goes through the same few threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from adapterworks.manifests.errors import Unavailable

_AT_ONCE = 2
_MOST_WAITING = 16
_AGAIN_S = 2.0
T = TypeVar("T")


class Scans:
    """Runs what reads whole files."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    async def run(self, look: Callable[[], T]) -> T:
        """Run it in a thread when it is its turn.

        Raises:
            Unavailable: too many wait already.
        """
        if self._waiting >= _MOST_WAITING:
            raise Unavailable("too many files wait to be looked through", retry_after=_AGAIN_S)
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(look)
        finally:
            self._waiting -= 1
