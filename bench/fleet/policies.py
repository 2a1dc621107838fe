"""How a request finds its engine: the gateway's own decision, and what it is compared with."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable

from adapterworks.gateway.engines.routing import Ranking, Seen, choose

# digest, what is seen of each engine → the engine's number
Policy = Callable[[str, Callable[[int], Seen]], int]


def ours(engines: int, *, gone: int = 0) -> Policy:
    """As `gateway/engines/routing.py` decides.

    Args:
        gone: so many of the engines, the first ones, are not there.
    """
    ranking = Ranking([_name(number) for number in range(gone, engines)])
    return lambda digest, see: gone + choose(ranking.of(digest), lambda e: see(gone + e))


def former(engines: int) -> Policy:
    """As it was decided before: by hash and load alone, whoever has the adapter."""
    ranking = Ranking([_name(number) for number in range(engines)])

    def decide(digest: str, see: Callable[[int], Seen]) -> int:
        loads = [see(engine).load for engine in range(engines)]
        limit = math.ceil(1.5 * (sum(loads) + 1) / engines)
        ranked = ranking.of(digest)
        return next((engine for engine in ranked if loads[engine] < limit), ranked[0])

    return decide


def by_chance(engines: int) -> Policy:
    """Any engine."""
    draw = random.Random(0)
    return lambda digest, see: draw.randrange(engines)


def in_turn(engines: int) -> Policy:
    """One engine after the other."""
    turns = itertools.cycle(range(engines))
    return lambda digest, see: next(turns)


def _name(number: int) -> str:
    return f"engine-{number}"


POLICIES: dict[str, Callable[[int], Policy]] = {
    "ours": ours,
    "before": former,
    "random": by_chance,
    "round robin": in_turn,
}
