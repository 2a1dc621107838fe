"""The fleet, event by event: gateways that see their own requests, engines that all of them share.

What the gateway decides is its own code: `routing.choose` says which engine, `victim` what it
unloads there, on the same `Entry` with the same `Popularity`. What is modelled: an adapter is
unloaded when the last gateway lets go of it, an engine takes no more than its places and drops the
least recently used itself (vLLM's own cache), a gateway learns what others have loaded each
`Times.look` seconds, a request waits for a load and a proof, and then for one of
the gateway's part of the engine's sequences. Seats (adapters in one batch) are as many as places.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from adapterworks.gateway.engines.routing import Seen, comfortable
from adapterworks.gateway.residency.entry import Entry
from adapterworks.gateway.residency.popularity import Popularity
from adapterworks.gateway.residency.victim import victim
from bench.fleet.policies import Policy
from bench.fleet.traffic import Size, Times, Traffic


@dataclass(slots=True)
class Outcome:
    """What became of each request, in order of arrival.

    Attributes:
        cold: whether an engine had to load its adapter, or was about to.
        first: seconds from its arrival to its first token.
        loads: that all engines did.
    """

    cold: list[bool] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    loads: int = 0


@dataclass(slots=True)
class _Engine:
    """What an engine has: digest → when it is there, in order of use; and who holds it."""

    there: OrderedDict[str, float] = field(default_factory=OrderedDict)
    holders: dict[str, set[int]] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Side:
    """One engine as one gateway knows it."""

    entries: dict[str, Entry] = field(default_factory=dict)
    running: int = 0
    waiting: deque[int] = field(default_factory=deque)
    awaited: int = 0


class Simulation:
    """One run over the traffic."""

    def __init__(self, size: Size, times: Times, traffic: Traffic, policy: Policy) -> None:
        self._size, self._times, self._traffic, self._policy = size, times, traffic, policy
        self._engines = [_Engine() for _ in range(size.engines)]
        self._popularity = [Popularity(times.half_life) for _ in range(size.gateways)]
        self._sides = [[_Side() for _ in range(size.engines)] for _ in range(size.gateways)]
        # A gateway's part of an engine's sequences, as they divide it among themselves.
        self._slots = max(1, -(-size.parallel // size.gateways))
        self._room = comfortable(self._slots)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._now = 0.0
        requests = len(traffic.at)
        self._out = Outcome([False] * requests, [0.0] * requests)

    def run(self) -> Outcome:
        """Until every request has had its last token."""
        look = self._times.look
        for number, at in enumerate(self._traffic.at):
            while self._events and self._events[0][0] <= at:
                self._step()
            if at >= look:
                for engine in self._engines:
                    engine.listed = frozenset(engine.there)
                look = float(at) + self._times.look
            self._now = float(at)
            self._arrive(number)
        while self._events:
            self._step()
        return self._out

    def _step(self) -> None:
        at, _, what = heapq.heappop(self._events)
        self._now = at
        what(at)

    def _at(self, when: float, what: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), what))

    def _arrive(self, number: int) -> None:
        digest = self._traffic.digests[self._traffic.adapter[number]]
        sides = self._sides[self._traffic.gateway[number]]

        def see(engine: int) -> Seen:
            side = sides[engine]
            entry = side.entries.get(digest)
            holds = digest in self._engines[engine].listed if entry is None else not entry.leaving
            load = side.running + len(side.waiting) + side.awaited
            return Seen(load, self._room, holds)

        place = self._policy(digest, see)
        side, engine = sides[place], self._engines[place]
        ready = self._bring(side, engine, digest, number)
        entry = side.entries[digest]
        popularity = self._popularity[self._traffic.gateway[number]]
        entry.level = popularity.note(digest, self._now)
        entry.users += 1
        entry.requests += 1
        if ready <= self._now:
            self._queue(side, number)
            return
        side.awaited += 1

        def loaded(now: float) -> None:
            side.awaited -= 1
            self._queue(side, number)

        self._at(ready, loaded)

    def _bring(self, side: _Side, engine: _Engine, digest: str, number: int) -> float:
        """When the adapter is loaded there, and proved for this gateway."""
        gateway = int(self._traffic.gateway[number])
        entry = side.entries.get(digest)
        engine.holders.setdefault(digest, set()).add(gateway)
        if entry is None:
            held = list(side.entries.values())
            if len(held) >= self._size.capacity:
                busy = {e.release.digest for e in held if e.users}
                leaver = victim(held, busy=busy, wanted=())
                assert leaver is not None
                self._let_go(side, engine, leaver.release.digest, gateway)
            release = cast(Any, SimpleNamespace(digest=digest))
            entry = side.entries[digest] = Entry(release, "resident")
            entry.moved = -1.0
        entry.used = self._now
        there = engine.there.get(digest)
        if there is None:
            self._out.loads += 1
            while len(engine.there) >= self._size.capacity:
                engine.there.popitem(last=False)
            there = engine.there[digest] = self._now + self._times.load
            entry.moved = there + self._times.proof
        elif entry.moved < 0 or there > max(entry.moved, self._now):
            # Loaded by another gateway, or being loaded again by one: proved all the same.
            entry.moved = max(there, self._now) + self._times.proof
        engine.there.move_to_end(digest)
        self._out.cold[number] = there > self._now
        return entry.moved

    def _let_go(self, side: _Side, engine: _Engine, digest: str, gateway: int) -> None:
        """As `Sharing.let_go`: the last one that holds it has it unloaded."""
        del side.entries[digest]
        engine.holders[digest].discard(gateway)
        if not engine.holders[digest]:
            engine.there.pop(digest, None)

    def _queue(self, side: _Side, number: int) -> None:
        if side.running >= self._slots:
            side.waiting.append(number)
            return
        self._serve(side, number)

    def _serve(self, side: _Side, number: int) -> None:
        side.running += 1
        first = self._now + self._times.first
        self._out.first[number] = first - float(self._traffic.at[number])
        digest = self._traffic.digests[self._traffic.adapter[number]]

        def done(now: float) -> None:
            side.running -= 1
            entry = side.entries.get(digest)
            if entry is not None and entry.users:
                entry.users -= 1
                entry.used = now
            if side.waiting:
                self._serve(side, side.waiting.popleft())

        self._at(first + float(self._traffic.seconds[number]), done)
