"""The ledger from the event loop: operations queue up and go to the database a batch at a time.

Invariant: operations are applied in the order they were asked for, by one thread at a time, and
everything that waits while a transaction runs shares the next one. So the number of transactions is
bounded by their duration, however many tenants there are.
"""

from __future__ import annotations

import asyncio

from adapterworks.gateway.admission.ledger import Draw, Grant, Hold, Ledger


class SharedLedger:
    """One gateway's ordered, batched access to the ledger; belongs to one event loop."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[tuple[Draw | Hold, asyncio.Future[Grant]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def apply(self, operation: Draw | Hold) -> Grant:
        """Apply one operation.

        Raises:
            Unavailable: the database cannot be used.
        """
        future: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(), name="limits ledger")
        return await future

    async def spent_since(self, tenant: str, first_day: str) -> int:
        """Metered tokens of a tenant from `first_day` on."""
        return await asyncio.to_thread(self._ledger.spent_since, tenant, first_day)

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                grants = await asyncio.to_thread(self._ledger.apply, [draw for draw, _ in batch])
            except Exception as error:  # whoever asked gets it; the worker goes on
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), grant in zip(batch, grants, strict=True):
                if not future.done():
                    future.set_result(grant)
