"""Whose turn it is at a busy engine: the Virtual Token Counter (Sheng et al. 2024, OSDI).

Each tenant has a counter of the tokens it was served, divided by its weight; a free slot goes to
the waiting tenant with the smallest counter. A tenant that was away is lifted to the smallest
counter of those at work, so idling earns no credit; one that is ahead stays where it is.

Invariants:
- a slot is one sequence: a request of several prompts or choices holds as many;
- work-conserving: nobody waits while there is room for the request that is next; one whose gate is
  closed (its adapter has no seat) is passed by, and holds nothing meanwhile;
- several gateways on one engine divide its slots, and each counts what the others have served;
- over any time in which two tenants both have requests waiting, served tokens divided by weight
  differ by at most twice what `slots` requests hold (the paper's bound 2U);
- a tenant that floods cannot fill the queue for others: when it is full, the newest request of the
  tenant with the longest queue is refused, not the newcomer of a shorter one.

Belongs to one event loop; a waiter that is cancelled leaves no trace.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from adapterworks.manifests.errors import AdapterworksError, Unavailable

# Far above any request's tokens, and small enough that a counter loses nothing by it.
_MOST = 2**40


class Gate(Protocol):
    """What a request needs besides its slots; claimed in the moment that it gets them.

    Attributes:
        key: gates with the same key are open at the same time.
    """

    key: str

    def open(self) -> bool:
        """Whether `claim` would succeed; what it raises, the request ends with."""

    def claim(self) -> bool:
        """Take what it is for, if that is there."""

    def give_back(self) -> None:
        """It is not used, or no more; idempotent."""

    def wait(self) -> None:
        """Somebody waits for it."""

    def stop(self) -> None:
        """Whoever waited does not any more."""

    def left(self) -> float:
        """Seconds that it is still waited for, as long as it is closed."""

    def late(self) -> Unavailable:
        """What is said when none are left."""


# Between two looks at whether a gate that is waited at is open.
LOOK_SECONDS = 0.5
# What is left of a wait whose timer has rung, by rounding.
_MOMENT = 1e-6


@dataclass(eq=False, slots=True)
class _Waiter:
    future: asyncio.Future[None]
    tokens: int
    slots: int
    gate: Gate | None = None


@dataclass(eq=False, slots=True)
class _Tenant:
    number: int  # of those that came before it
    weight: float = 1.0
    counter: float = 0.0
    running: int = 0
    waiting: deque[_Waiter] = field(default_factory=deque)


class Turn:
    """A slot that is held. `settle` replaces the expected tokens by the real ones, once."""

    __slots__ = ("_charged", "_queue", "_tenant_id", "waited")

    def __init__(self, queue: FairQueue, tenant_id: str, charged: int, waited: float) -> None:
        self._queue = queue
        self._tenant_id = tenant_id
        self._charged: int | None = charged
        self.waited = waited

    def settle(self, tokens: int) -> None:
        """Correct the charge to `tokens` (prompt + completion)."""
        if self._charged is not None:
            self._queue.charge(self._tenant_id, tokens - self._charged)
            self._charged = None


class FairQueue:
    """The queue in front of one engine that works on `slots` sequences at once.

    Attributes:
        whole: the engine's slots.
        slots: those of them that are this gateway's.
    """

    def __init__(self, slots: int, *, max_waiting: int = 512, max_wait: float = 60.0) -> None:
        self.whole = slots
        self.slots = slots
        self.max_waiting = max_waiting
        self.max_wait = max_wait
        self.running = 0
        self.waiting = 0
        self._tenants: dict[str, _Tenant] = {}
        self._here: dict[str, _Tenant] = {}  # all that are at work, and some that were
        self._last: _Tenant | None = None  # served last, for when nobody else is here
        self._unsaid: Counter[str] = Counter()  # tokens since somebody asked

    @asynccontextmanager
    async def turn(
        self,
        tenant_id: str,
        expected_tokens: int,
        *,
        weight: float = 1.0,
        sequences: int = 1,
        gate: Gate | None = None,
    ) -> AsyncIterator[Turn]:
        """Wait for a slot for each sequence, and hold them.

        Args:
            expected_tokens: charged when the slots are given; `Turn.settle` corrects it.
            weight: the tenant's share relative to others; the newest value counts.
            sequences: more than there are slots count as all of them.
            gate: what must be free besides; it is claimed with the slots, and given back with them.

        Raises:
            Unavailable: the queue is full, or the wait was longer than `max_wait` seconds.
            AdapterworksError: what the gate raised.
        """
        expected_tokens = min(expected_tokens, _MOST)
        tenant = self._arrive(tenant_id, weight)
        slots = min(sequences, self.slots)
        clock = asyncio.get_running_loop().time
        began = clock()
        room = self.running + slots <= self.slots and not self.waiting
        if room and (gate is None or gate.claim()):
            self._serve(tenant_id, tenant, expected_tokens, slots)
        else:
            slots = await self._wait(tenant_id, expected_tokens, slots, gate)
        try:
            yield Turn(self, tenant_id, expected_tokens, clock() - began)
        finally:
            if gate is not None:
                gate.give_back()
            self._leave(tenant, slots)

    def look_again(self) -> None:
        """A gate may be open that was closed before."""
        self._dispatch()

    def charge(self, tenant_id: str, tokens: int) -> None:
        """Charge tokens as they are served (negative: correct an expectation that was too high)."""
        tenant = self._tenants.get(tenant_id)
        if tenant is not None:
            tenant.counter += tokens / tenant.weight
            self._unsaid[tenant_id] += tokens

    def share(self, among: int) -> None:
        """Take this gateway's part of the engine's slots from now on."""
        slots = max(1, -(-self.whole // among))
        if slots == self.slots:
            return
        self.slots = slots
        for tenant in self._here.values():
            for waiter in tenant.waiting:
                waiter.slots = min(waiter.slots, slots)
        self._dispatch()

    def served(self) -> dict[str, int]:
        """Tokens charged to each tenant since this was asked last."""
        served, self._unsaid = self._unsaid, Counter()
        return {tenant: tokens for tenant, tokens in served.items() if tokens}

    def not_told(self, served: Mapping[str, int]) -> None:
        """What `served` gave could not be passed on: it is given once more."""
        self._unsaid.update(served)

    def served_elsewhere(self, tokens: Mapping[str, int]) -> None:
        """Other gateways have served this much of the engine to these tenants."""
        for tenant_id, count in tokens.items():
            tenant = self._tenants.get(tenant_id)
            if tenant is not None:
                tenant.counter += count / tenant.weight

    def depth(self, tenant_id: str) -> int:
        """Requests of a tenant that wait."""
        tenant = self._tenants.get(tenant_id)
        return len(tenant.waiting) if tenant else 0

    def _arrive(self, tenant_id: str, weight: float) -> _Tenant:
        tenant = self._tenants.setdefault(tenant_id, _Tenant(len(self._tenants)))
        tenant.weight = weight
        if not tenant.running and not tenant.waiting:
            at_work = [other.counter for other in self._at_work().values()]
            tenant.counter = max(tenant.counter, min(at_work, default=self._last_counter))
        return tenant

    def _at_work(self) -> dict[str, _Tenant]:
        """Who has a request here, of all that ever had one."""
        gone = [id for id, one in self._here.items() if not one.running and not one.waiting]
        for tenant_id in gone:
            del self._here[tenant_id]
        return self._here

    @property
    def _last_counter(self) -> float:
        """Of the tenant that was served last, as it is settled by now."""
        return 0.0 if self._last is None else self._last.counter

    async def _wait(self, tenant_id: str, tokens: int, slots: int, gate: Gate | None) -> int:
        """Wait for slots; returns how many were given."""
        tenant = self._tenants[tenant_id]
        if self.waiting >= self.max_waiting:
            self._make_room(tenant)
        waiter = _Waiter(asyncio.get_running_loop().create_future(), tokens, slots, gate)
        tenant.waiting.append(waiter)
        self._here[tenant_id] = tenant
        self.waiting += 1
        if gate is not None:
            gate.wait()
        try:
            self._dispatch()  # those before it may be waiting for gates of their own
            await self._served(waiter)
        except BaseException:
            if waiter in tenant.waiting:
                tenant.waiting.remove(waiter)
                self.waiting -= 1
                self._dispatch()  # it may have stood before one that there is room for
            elif _was_served(waiter.future):  # in the very moment it gave up
                self.charge(tenant_id, -tokens)
                if gate is not None:
                    gate.give_back()
                self._leave(tenant, waiter.slots)
            raise
        finally:
            if gate is not None:
                gate.stop()
        return waiter.slots

    async def _served(self, waiter: _Waiter) -> None:
        """Wait until it is served, for as long as what it lacks is waited for.

        A closed gate has its own patience; `max_wait` is for turns.

        Raises:
            Unavailable: it was not.
        """
        future, gate, left = waiter.future, waiter.gate, self.max_wait
        clock = asyncio.get_running_loop().time
        while not future.done():
            began = clock()
            if gate is not None and not gate.open():
                patience = gate.left()
                if patience < _MOMENT:
                    raise gate.late()
                await asyncio.wait({future}, timeout=min(patience, LOOK_SECONDS))
                continue
            if left < _MOMENT:
                what = f"no turn at the engine within {self.max_wait:g} s"
                raise _busy(what, min(5.0, self.max_wait))
            await asyncio.wait({future}, timeout=left if gate is None else min(left, LOOK_SECONDS))
            left -= clock() - began
        future.result()

    def _make_room(self, newcomer: _Tenant) -> None:
        """Refuse the newest request of the tenant with the longest queue for its weight."""
        longest = max(
            self._at_work().values(),
            key=lambda tenant: len(tenant.waiting) / tenant.weight,
            default=newcomer,
        )
        if (len(newcomer.waiting) + 1) / newcomer.weight > len(longest.waiting) / longest.weight:
            raise _busy(f"{self.waiting} requests are waiting for the engine", 1.0)
        waiter = longest.waiting.pop()
        self.waiting -= 1
        if not waiter.future.done():  # cancelled, and about to leave by itself
            what = f"{self.max_waiting} requests are waiting for the engine"
            waiter.future.set_exception(_busy(what, 1.0))

    def _dispatch(self) -> None:
        while self.waiting and self._serve_next():
            pass

    def _serve_next(self) -> bool:
        """Serve whoever is next among those with an open gate; returns whether anybody was."""
        closed: set[str] = set()
        in_order = sorted(
            (named for named in self._here.items() if named[1].waiting),
            key=lambda named: _in_order(named[1]),
        )
        for tenant_id, tenant in in_order:
            for waiter in list(tenant.waiting):
                gate = waiter.gate
                if waiter.future.done():  # cancelled, and about to leave by itself
                    self._remove(tenant, waiter)
                    continue
                if gate is not None and gate.key in closed:
                    continue
                try:
                    if gate is not None and not gate.open():
                        closed.add(gate.key)
                        continue
                    # Whoever is next is not passed by smaller ones, which might be so for ever.
                    if self.running + waiter.slots > self.slots:
                        return False
                    if gate is not None and not gate.claim():
                        continue
                except AdapterworksError as error:
                    self._remove(tenant, waiter)
                    waiter.future.set_exception(error)
                    continue
                self._remove(tenant, waiter)
                self._serve(tenant_id, tenant, waiter.tokens, waiter.slots)
                waiter.future.set_result(None)
                return True
        return False

    def _remove(self, tenant: _Tenant, waiter: _Waiter) -> None:
        tenant.waiting.remove(waiter)
        self.waiting -= 1

    def _serve(self, tenant_id: str, tenant: _Tenant, tokens: int, slots: int) -> None:
        # Computed first: nothing is held if it cannot be.
        counter = tenant.counter + tokens / tenant.weight
        tenant.counter, self._last = counter, tenant
        self._here[tenant_id] = tenant
        self._unsaid[tenant_id] += tokens
        self.running += slots
        tenant.running += slots

    def _leave(self, tenant: _Tenant, slots: int) -> None:
        self.running -= slots
        tenant.running -= slots
        self._dispatch()


def _in_order(tenant: _Tenant) -> tuple[float, int, int, int]:
    return tenant.counter, tenant.running, len(tenant.waiting), tenant.number


def _was_served(future: asyncio.Future[None]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _busy(message: str, retry_after: float) -> Unavailable:
    return Unavailable(
        message,
        hint=f"the engine is busy; try again in {math.ceil(retry_after)} s",
        retry_after=math.ceil(retry_after),
    )
