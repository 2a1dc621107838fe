"""Keeps what tenants let us keep: beside the requests, never in their way.

    offer (after the last byte) → bounded queue → clean → seal → index

Invariants:
- `offer` never waits: what the queue has no room for is dropped and counted;
- nothing is on a disk before it has been cleaned;
- what has expired is removed by every gateway that runs, whoever kept it;
- another release's answer is kept beside the exchange of its request or not at all: one that comes
  first waits until its request is over, `EARLY_SECONDS` at most, and takes its room meanwhile.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

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
EARLY_SECONDS, EARLY_LOOK = 600.0, 5.0
MOST_EARLY = 256
MOST_OVER = 4096  # requests whose end is remembered, for shadows that come later
_log = logging.getLogger(__name__)

Count = Callable[[str, str], None]
"""Told a tenant's name and an outcome: `kept`, `shadow`, `personal`, `unreadable`, `full`, `alone`
or `failed`."""


@dataclass(frozen=True, slots=True)
class _Over:
    """A request is over: what of it is to be kept was offered before."""

    receipt: str


@dataclass(frozen=True, slots=True)
class _Early:
    """A shadow's answer that came before its request was over.

    Attributes:
        until: seconds of the monotonic clock.
        tenant_name, size: of its draft.
    """

    until: float
    tenant_name: str
    size: int
    exchange: Exchange


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
        self._waiting: queue.Queue[Draft | _Over | None] = queue.Queue()
        self._drafts = 0
        self._bytes = 0
        self._early: list[_Early] = []
        self._over: OrderedDict[str, None] = OrderedDict()
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
            full = self._drafts >= MOST_WAITING or self._bytes + draft.size > MOST_BYTES
            if not full:
                self._drafts += 1
                self._bytes += draft.size
                self._waiting.put(draft)
        if full:
            self._count(draft.tenant_name, "full")

    def over(self, receipt: str) -> None:
        """A request that has a shadow is over, however it ended: whatever of it is to be kept has
        been offered. Returns at once."""
        self._waiting.put(_Over(receipt))

    def _write(self, worker: Worker) -> None:
        running = True
        while running:
            drafts, over, running = self._taken()
            shadows = self._keep(drafts)
            for receipt in over:
                self._over[receipt] = None
                if len(self._over) > MOST_OVER:
                    self._over.popitem(last=False)
            self._keep_shadows(shadows, {*over}, last=not running)
            worker.beat()

    def _taken(self) -> tuple[list[Draft], list[str], bool]:
        """What waits, as much as is written together; the receipts of requests that are over, whose
        drafts are among these or came before; and whether more may come.

        Where a shadow waits for its request, it comes back soon, with nothing if nothing waits.
        """
        drafts: list[Draft] = []
        over: list[str] = []
        wait = EARLY_LOOK if self._early else None
        until = 0.0
        while len(drafts) + len(over) < BATCH:
            try:
                item = self._waiting.get(timeout=wait)
            except queue.Empty:
                break
            if item is None:
                return drafts, over, False
            until = until or time.monotonic() + BATCH_SECONDS
            if isinstance(item, Draft):
                drafts.append(item)
                with self._lock:
                    self._drafts -= 1
            else:
                over.append(item.receipt)
            wait = max(0.0, until - time.monotonic())
        return drafts, over, True

    def _keep(self, drafts: list[Draft]) -> list[_Early]:
        """Keep first answers; returns the shadows' among them, whose room is still taken."""
        firsts: list[tuple[Draft, Exchange]] = []
        shadows: list[_Early] = []
        for draft in drafts:
            early = False
            try:
                exchange = clean(draft)
                early = draft.shadow
                if early:
                    until = time.monotonic() + EARLY_SECONDS
                    shadows.append(_Early(until, draft.tenant_name, draft.size, exchange))
                else:
                    firsts.append((draft, exchange))
            except NotKept as why:
                self._count(draft.tenant_name, why.reason)
            except Exception as error:  # a text that a detector cannot take is kept by nobody
                self._count(draft.tenant_name, "failed")
                self._supervisor.saw("capture", error)
            finally:
                if not early:
                    self._give_room(draft.size)
        if not firsts:
            return shadows
        outcome = "failed"
        try:
            self.store.put([exchange for _, exchange in firsts])
            outcome = "kept"
        except AdapterworksError as error:
            _log.error("%d exchanges could not be kept: %s", len(firsts), error)
        finally:
            for draft, _ in firsts:
                self._count(draft.tenant_name, outcome)
        return shadows

    def _keep_shadows(self, new: list[_Early], over: set[str], *, last: bool) -> None:
        """Keep those whose exchange is there, looked for when they come and when their request is
        over; those that wait in vain are let go."""
        waiting, self._early = self._early, []
        for shadow in waiting:
            if last or shadow.exchange.receipt in over:
                self._settle(shadow, "alone")
            elif time.monotonic() > shadow.until:
                self._let_go(shadow, "alone")
            else:
                self._early.append(shadow)
        for shadow in new:
            if last or shadow.exchange.receipt in self._over:
                self._settle(shadow, "alone")
            elif len(self._early) < MOST_EARLY:
                self._settle(shadow, None)
            else:
                self._settle(shadow, "full")

    def _settle(self, shadow: _Early, otherwise: str | None) -> None:
        """Keep a shadow beside its exchange, or let it go with an outcome; None: it waits."""
        try:
            if put_shadow(self.store, shadow.exchange):
                self._let_go(shadow, "shadow")
            elif otherwise is not None:
                self._let_go(shadow, otherwise)
            else:
                self._early.append(shadow)
        except AdapterworksError as error:
            self._let_go(shadow, "failed")
            _log.error("a shadow's answer could not be kept: %s", error)

    def _let_go(self, shadow: _Early, outcome: str) -> None:
        self._give_room(shadow.size)
        self._count(shadow.tenant_name, outcome)

    def _give_room(self, size: int) -> None:
        with self._lock:
            self._bytes -= size

    def _sweep(self, worker: Worker) -> None:
        while True:
            try:
                self.store.sweep(self._clock())
                worker.beat()
            except Unavailable as error:
                _log.warning("what has expired could not be removed: %s", error)
            if self._closing.wait(SWEEP_SECONDS):
                return
