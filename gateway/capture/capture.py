"""Keeps what tenants let us keep: beside the requests, never in their way.

    offer (after the last byte) → bounded queue → clean → seal → index

Invariants:
- `offer` never waits: what the queue has no room for is dropped and counted;
- nothing is on a disk before it has been cleaned;
- what has expired is removed by every gateway that runs, whoever kept it.
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
from adapterworks.registry.exchanges.store import Exchanges

MOST_WAITING = 256
MOST_BYTES = 64 * 1024 * 1024
BATCH, BATCH_SECONDS = 32, 0.5  # written together: requests wait for the same disk
SWEEP_SECONDS = 60.0
_log = logging.getLogger(__name__)

Count = Callable[[str, str], None]
"""Told a tenant's name and an outcome: `kept`, `personal`, `unreadable`, `full` or `failed`."""


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
            drafts: list[Draft] = []
            item = self._waiting.get()
            deadline = time.monotonic() + BATCH_SECONDS
            while item is not None:
                drafts.append(item)
                if len(drafts) == BATCH:
                    break
                try:
                    item = self._waiting.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    break
            else:
                running = False
            self._keep(drafts)
            worker.beat()

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

    def _sweep(self, worker: Worker) -> None:
        while True:
            try:
                self.store.sweep(self._clock())
                worker.beat()
            except Unavailable as error:
                _log.warning("what has expired could not be removed: %s", error)
            if self._closing.wait(SWEEP_SECONDS):
                return
