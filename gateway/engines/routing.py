"""Which of several engines gets a request for an adapter: pure decisions on what is seen of them.

Rendezvous hashing with bounded loads (Thaler & Ravishankar 1998; Mirrokni, Thorup & Zadimoghaddam
2018), among the engines that have the adapter first.

Invariants:
- while an engine that has the adapter is not full, no other one loads it: at low load one adapter
  is in one engine;
- an engine is full when it has as much as it works on well (`room`) and `LOAD_FACTOR` times its
  share of what all have, so where all are busy alike nobody loads what another one has;
- a further engine loads it only if it is less busy, by `LOAD_FACTOR`, than all that have it;
- without an engine, only what was there goes elsewhere.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

# An engine may carry this much more than its share before its adapters go to a further one.
LOAD_FACTOR = 1.5
SMALL = 16
_KEPT_ORDERS = 4096
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a gateway sees of an engine when it decides about one adapter.

    Attributes:
        load: sequences under way and waiting.
        room: sequences that it works on well at once; at least 1.
        holds: whether it has the adapter, or is loading it.
    """

    load: int
    room: int
    holds: bool


class Ranking:
    """The order of preference in which each digest meets a fixed set of engines.

    Args:
        ids: of the engines, each its own; their order changes nothing.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = tuple(ids)
        self.of = functools.lru_cache(maxsize=_KEPT_ORDERS)(self._of)

    def _of(self, digest: str) -> tuple[int, ...]:
        """The engines' places in `ids`, the preferred one first."""
        scores = [hashlib.sha256(f"{id}\n{digest}".encode()).digest() for id in self._ids]
        return tuple(sorted(range(len(scores)), key=scores.__getitem__, reverse=True))


def choose(ranked: Sequence[T], see: Callable[[T], Seen]) -> T:
    """The engine that a request for an adapter goes to.

    Args:
        ranked: those that can answer, the preferred first; at least one.
        see: asked once of each, and of no more than are needed.
    """
    seen: list[tuple[T, Seen]] = []
    for engine in ranked:
        now = see(engine)
        if now.holds and now.load < now.room:
            return engine
        seen.append((engine, now))
    share = LOAD_FACTOR * (sum(n.load for _, n in seen) + 1) / sum(n.room for _, n in seen)

    def full(now: Seen) -> bool:
        return now.load >= max(now.room, math.ceil(share * now.room))

    holders = [(engine, now) for engine, now in seen if now.holds]
    for engine, now in holders or seen:
        if not full(now):
            return engine
    # The least busy of all is below its share, so it is full in no case and relieves every other.
    busiest_allowed = min((_busy(now) for _, now in holders), default=math.inf) / LOAD_FACTOR
    others = [(engine, now) for engine, now in seen if not now.holds]
    relieving = (engine for engine, now in others if _busy(now) < busiest_allowed)
    return next(relieving, min(seen, key=lambda pair: _busy(pair[1]))[0])


def comfortable(slots: int) -> int:
    """The `room` of an engine that works on `slots` sequences at most.

    Half of them: a batch of that size takes hardly longer than a small one, and what comes while a
    further engine loads the adapter still finds a place. But `SMALL` are no load for any engine,
    and where several gateways divide one, a part is as small: half of it would be full by chance.
    """
    return min(slots, max(SMALL, slots // 2))


def least_busy(engines: Sequence[T], see: Callable[[T], Seen]) -> T:
    """The engine that a request for the base itself goes to."""
    return min(engines, key=lambda engine: _busy(see(engine)))


def _busy(now: Seen) -> float:
    return now.load / now.room
