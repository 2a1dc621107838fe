"""The ledger from the event loop: operations queue up and go to the database a batch at a time.

Invariant: operations are applied in the order they were asked for, by one thread at a time, and
everything that waits while a transaction runs shares the next one. So the number of transactions is
bounded by their duration, however many tenants there are.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from adapterworks.gateway.admission.ledger import Draw, Grant, Hold, Ledger
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.manifests.errors import Unavailable

STUCK_SECONDS = 1.0


class SharedLedger:
    """One gateway's ordered, batched access to the ledger; belongs to one event loop."""

    def __init__(self, ledger: Ledger, supervisor: Supervisor) -> None:
        self._ledger = ledger
        self._supervisor = supervisor
        self._waiting: list[tuple[Draw | Hold, asyncio.Future[Grant]]] = []
        self._worker: asyncio.Task[None] | None = None
        self._began: float | None = None  # the transaction that runs
        # Threads of its own: those of others may all be waiting for an index that does not answer.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="limits")

    async def apply(self, operation: Draw | Hold) -> Grant:
        """Apply one operation.

        Raises:
            Unavailable: the database cannot be used, or has not answered the last one for so long
                that nothing more is asked of it.
        """
        if self._began is not None and time.monotonic() - self._began > STUCK_SECONDS:
            raise Unavailable("the limits cannot be looked up now", retry_after=2.0)
        future: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, future))
        if self._worker is None or self._worker.done():
            self._worker = self._supervisor.once("limits ledger", self._work())
        return await future

    async def spent_since(self, tenant: str, first_day: str) -> int:
        """Metered tokens of a tenant from `first_day` on."""
        loop = asyncio.get_running_loop()
        spent = self._ledger.spent_since
        return await loop.run_in_executor(self._threads, spent, tenant, first_day)

    def close(self) -> None:
        """Nothing more is asked."""
        self._threads.shutdown(wait=False)

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            loop, self._began = asyncio.get_running_loop(), time.monotonic()
            try:
                draws = [draw for draw, _ in batch]
                grants = await loop.run_in_executor(self._threads, self._ledger.apply, draws)
                for (_, future), grant in zip(batch, grants, strict=True):
                    if not future.done():
                        future.set_result(grant)
            except Exception as error:  # whoever asked gets it; the worker goes on
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                if not isinstance(error, Unavailable):
                    self._supervisor.saw("limits ledger", error)
            finally:
                self._began = None
