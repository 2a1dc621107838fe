"""Keeps what tenants let us keep: beside the requests, never in their way.

    offer (after the last byte) → bounded queue → clean → seal → index

Invariants:
- `offer` never waits: what the queue has no room for is dropped and counted;
- nothing is on a disk before it has been cleaned;
- what has expired is removed by every gateway that runs, whoever kept it;
- another release's answer is kept beside the exchange of its request or not at all: one that comes
  first waits for it, `EARLY_SECONDS` at most.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable

from adapterworks.gateway.capture.clean import NotKept, clean
from adapterworks.gateway.capture.draft import Draft
from adapterworks.gateway.supervision.supervisor import Supervisor, Worker
from adapterworks.manifests.errors import AdapterworksError, Unavailable
from adapterworks.registry.exchanges.exchange import Exchange
from adapterworks.registry.exchanges.shadows import put_shadow
from adapterworks.registry.exchanges.store import Exchanges

MOST_WAITING = 256
MOST_BYTES = 64 * 1024 * 1024
BATCH, BATCH_SECONDS = 32, 0.5  # written together: requests wait for the same disk
SWEEP_SECONDS = 60.0
EARLY_SECONDS, EARLY_LOOK = 600.0, 1.0
MOST_EARLY = 256
_log = logging.getLogger(__name__)

Count = Callable[[str, str], None]
"""Told a tenant's name and an outcome: `kept`, `shadow`, `personal`, `unreadable`, `full`, `alone`
or `failed`."""


class Capture:
    """Two threads: one writes, one removes.

    Args:
        store: where it is kept.
        count: told the outcome of every draft, once.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        store: Exchanges,
        *,
        supervisor: Supervisor,
        count: Count,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self._supervisor = supervisor
        self._count = count
        self._clock = clock
        self._waiting: queue.Queue[Draft | None] = queue.Queue()
        self._bytes = 0
        self._early: list[tuple[float, Draft, Exchange]] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to write and to remove."""
        self._threads = [
            self._supervisor.thread("capture", self._write),
            self._supervisor.thread("retention", self._sweep),
        ]

    def close(self) -> None:
        """Write what waits, and end."""
        self._closing.set()
        self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def offer(self, draft: Draft) -> None:
        """Have it kept, if there is room; returns at once."""
        with self._lock:
            full = self._waiting.qsize() >= MOST_WAITING or self._bytes + draft.size > MOST_BYTES
            if not full:
                self._bytes += draft.size
                self._waiting.put(draft)
        if full:
            self._count(draft.tenant_name, "full")

    def _write(self, worker: Worker) -> None:
        running = True
        while running:
            drafts, running = self._taken()
            self._keep(drafts)
            self._keep_shadows(last=not running)
            worker.beat()

    def _taken(self) -> tuple[list[Draft], bool]:
        """What waits, as much as is written together; and whether more may come.

        Where a shadow waits for its exchange, it comes back soon, with nothing if nothing waits.
        """
        drafts: list[Draft] = []
        wait = EARLY_LOOK if self._early else None
        until = 0.0
        while len(drafts) < BATCH:
            try:
                item = self._waiting.get(timeout=wait)
            except queue.Empty:
                break
            if item is None:
                return drafts, False
            until = until or time.monotonic() + BATCH_SECONDS
            drafts.append(item)
            wait = max(0.0, until - time.monotonic())
        return drafts, True

    def _keep(self, drafts: list[Draft]) -> None:
        cleaned: list[tuple[Draft, Exchange]] = []
        for draft in drafts:
            try:
                cleaned.append((draft, clean(draft)))
            except NotKept as why:
                self._count(draft.tenant_name, why.reason)
            except Exception as error:  # a text that a detector cannot take is kept by nobody
                self._count(draft.tenant_name, "failed")
                self._supervisor.saw("capture", error)
            finally:
                with self._lock:
                    self._bytes -= draft.size
        for draft, exchange in cleaned:
            if draft.shadow and len(self._early) < MOST_EARLY:
                self._early.append((time.monotonic() + EARLY_SECONDS, draft, exchange))
            elif draft.shadow:
                self._count(draft.tenant_name, "full")
        cleaned = [(draft, exchange) for draft, exchange in cleaned if not draft.shadow]
        if not cleaned:
            return
        outcome = "failed"
        try:
            self.store.put([exchange for _, exchange in cleaned])
            outcome = "kept"
        except AdapterworksError as error:
            _log.error("%d exchanges could not be kept: %s", len(cleaned), error)
        finally:
            for draft, _ in cleaned:
                self._count(draft.tenant_name, outcome)

    def _keep_shadows(self, *, last: bool) -> None:
        """Keep those whose exchange is there; those that wait in vain are let go."""
        waiting, self._early = self._early, []
        for until, draft, exchange in waiting:
            try:
                if put_shadow(self.store, exchange):
                    self._count(draft.tenant_name, "shadow")
                elif last or time.monotonic() > until:
                    self._count(draft.tenant_name, "alone")
                else:
                    self._early.append((until, draft, exchange))
            except AdapterworksError as error:
                self._count(draft.tenant_name, "failed")
                _log.error("a shadow's answer could not be kept: %s", error)

    def _sweep(self, worker: Worker) -> None:
        while True:
            try:
                self.store.sweep(self._clock())
                worker.beat()
            except Unavailable as error:
                _log.warning("what has expired could not be removed: %s", error)
            if self._closing.wait(SWEEP_SECONDS):
                return
