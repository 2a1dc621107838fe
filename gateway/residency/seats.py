"""Whose turn it is on one engine: which adapters hold its slots, and who waits for one.

Invariants:
- adapters with requests in flight never number more than the engine's slots;
- whoever waits is served in order: if no slot comes free, the longest-running adapter takes no
  further requests until those waiting before them have had a turn;
- an adapter is closed only as long as somebody else waits for its slot.

A seat is asked for in two ways: `take` waits for it here, in order of arrival; `claim` takes it at
once, in the order of whoever gives turns (`gateway/residency/gate.py`) and is told of changes.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping, Set

from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.residency.entry import Entry


class Seats:
    """The slots of one engine.

    A seat is a place for one request that is not yet counted in its entry's `users`.

    Args:
        entries: what the engine holds, by digest; kept up to date by its owner.
    """

    def __init__(self, engine: Engine, entries: Mapping[str, Entry]) -> None:
        self._engine = engine
        self._entries = entries
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()
        self._seats: dict[str, int] = {}
        self._asking: Counter[str] = Counter()
        self._changed: Callable[[], None] = lambda: None
        self._change = asyncio.Event()

    def __contains__(self, digest: str) -> bool:
        """Whether somebody has a seat for this adapter."""
        return digest in self._seats

    @property
    def busy(self) -> set[str]:
        """The digests that hold a slot."""
        return {d for d, e in self._entries.items() if e.users} | self._seats.keys()

    @property
    def asked(self) -> Set[str]:
        """The digests that somebody waits to claim a seat for, or a turn together with it."""
        return self._asking.keys()

    async def take(self, digest: str) -> None:
        """Wait until this adapter may have one more user, and hold that place."""
        entry = self._entries.get(digest)
        running = entry is not None and entry.users > 0 and _open_to_more(entry)
        # An adapter that has a slot and is not yielding passes those who wait for a slot.
        if running or (not self._waiting and self._admits(digest)):
            self._seats[digest] = self._seats.get(digest, 0) + 1
            return
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((digest, ticket))
        self._yield_longest()
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket.done() and not ticket.cancelled():
                self.leave(digest)
            self.wake()
            raise

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever a claim may succeed that did not before."""
        self._changed = changed

    def ask(self, digest: str) -> None:
        """Somebody waits for a claim on this adapter to succeed."""
        self._asking[digest] += 1

    def stop_asking(self, digest: str) -> None:
        """And does so no more."""
        self._asking[digest] -= 1
        if not self._asking[digest]:
            del self._asking[digest]
            self.wake()

    def has_room(self, digest: str) -> bool:
        """Whether a claim would succeed; if not, somebody is asked to make room."""
        if digest not in self.busy and self._waiting:
            return False
        if self._admits(digest):
            return True
        self._yield_longest()
        return False

    def claim(self, digest: str) -> None:
        """Hold a place that there is (`has_room`)."""
        self._seats[digest] = self._seats.get(digest, 0) + 1

    def leave(self, digest: str) -> None:
        """Give the place up; without an await in between it becomes a user."""
        self._seats[digest] -= 1
        if not self._seats[digest]:
            del self._seats[digest]

    def wake(self) -> None:
        """Something changed: let in, in order, as many as fit; the rest keeps waiting."""
        self._change.set()
        self._change = asyncio.Event()
        self._reopen()
        still: deque[tuple[str, asyncio.Future[None]]] = deque()
        for digest, ticket in self._waiting:
            if ticket.done():
                continue
            if self._admits(digest):
                self._seats[digest] = self._seats.get(digest, 0) + 1
                ticket.set_result(None)
            else:
                still.append((digest, ticket))
        self._waiting = still
        if still or self._asking.keys() - self.busy:
            self._yield_longest()
        self._changed()

    async def changed(self) -> None:
        """Wait for the next `wake`: a user left, or a load or an unload ended."""
        event = self._change
        await event.wait()

    def _admits(self, digest: str) -> bool:
        busy = self.busy
        entry = self._entries.get(digest)
        if entry is not None and not _open_to_more(entry):
            return False
        return digest in busy or len(busy) < self._engine.slots

    def _reopen(self) -> None:
        """Whoever was asked to yield, and for whom nobody waits any more, takes requests again."""
        asking = {digest for digest, ticket in self._waiting if not ticket.done()}
        asking |= self._asking.keys() - self.busy
        for digest, entry in self._entries.items():
            if entry.yielding and not asking - {digest}:
                entry.yielding = False

    def _yield_longest(self) -> None:
        """Ask the adapter that has held a slot longest to give it up, if none is doing so."""
        busy = [e for e in self._entries.values() if e.users]
        if len(self.busy) >= self._engine.slots and not any(e.yielding for e in busy) and busy:
            min(busy, key=lambda e: e.busy_since).yielding = True


def _open_to_more(entry: Entry) -> bool:
    return not entry.yielding and not entry.leaving
