"""Turns of graders: a few run at once, one a tenant, and whoever finds too many waiting is told.

Invariant: of a tenant one has a turn or stands before it, so that tenants take turns with each
other, however many graders one of them sends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from adapterworks.gateway.request.leaving import in_thread
from adapterworks.manifests.errors import Unavailable

T = TypeVar("T")
_AGAIN_S = 1.0


@dataclass(slots=True)
class _Of:
    """One tenant's: how many it has here, and whose turn it is among them."""

    here: int = 0
    one: asyncio.Lock = field(default_factory=asyncio.Lock)


class GradingLine:
    """Who waits to have a grader run, and who has it run.

    Args:
        at_once: that run.
        most: that are here, those that run among them.
        most_of_one: of one tenant.
    """

    def __init__(self, *, at_once: int = 2, most: int = 18, most_of_one: int = 6) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._most, self._most_of_one = most, most_of_one
        self._of: dict[str, _Of] = {}

    def require_room(self, tenant: str) -> None:
        """Refuse another one where too many wait.

        Raises:
            Unavailable: so it is.
        """
        of = self._of.get(tenant)
        if of is not None and of.here >= self._most_of_one:
            raise Unavailable("too many of your graders wait to be run", retry_after=_AGAIN_S)
        if sum(one.here for one in self._of.values()) >= self._most:
            raise Unavailable("too many graders wait to be run", retry_after=_AGAIN_S)

    async def run(self, tenant: str, work: Callable[[], T]) -> T:
        """Run something in a thread when it is the tenant's turn; nobody is refused here.

        Whoever is cancelled keeps the turn until the thread has ended: threads are no more than
        `at_once`.
        """
        async with self._turn(tenant):
            return await in_thread(work)

    @contextlib.asynccontextmanager
    async def _turn(self, tenant: str) -> AsyncIterator[None]:
        of = self._of.setdefault(tenant, _Of())
        of.here += 1
        try:
            async with of.one, self._turns:
                yield
        finally:
            of.here -= 1
            if not of.here:
                del self._of[tenant]
