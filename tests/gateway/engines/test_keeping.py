"""An adapter stays where it is: which of many engines a request goes to, by numbers."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from adapterworks.gateway.engines.routing import (
    LOAD_FACTOR,
    Ranking,
    Seen,
    choose,
    comfortable,
    least_busy,
)


@dataclass
class Pool:
    """Engines that load what they are asked for and never finish a request."""

    count: int
    room: int = 32
    load: dict[int, int] = field(default_factory=Counter)
    held: set[tuple[int, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ranking = Ranking([f"engine-{number}" for number in range(self.count)])

    def ask(self, digest: str) -> int:
        engine = choose(
            self.ranking.of(digest),
            lambda e: Seen(self.load[e], self.room, (e, digest) in self.held),
        )
        self.load[engine] += 1
        self.held.add((engine, digest))
        return engine

    def engines_of(self, digest: str) -> set[int]:
        return {engine for engine, held in self.held if held == digest}


def _choose(*seen: Seen) -> int:
    return choose(range(len(seen)), seen.__getitem__)


def test_sixteen_at_once_for_one_adapter_touch_one_engine_of_fifty() -> None:
    pool = Pool(50, room=comfortable(64))
    assert len({pool.ask("sha256:a") for _ in range(16)}) == 1
    assert pool.ask("sha256:a") == pool.ranking.of("sha256:a")[0]


def test_half_of_an_engine_is_its_room_and_a_small_part_is_so_whole() -> None:
    rooms = {slots: comfortable(slots) for slots in (1, 7, 16, 20, 32, 64, 256)}
    assert rooms == {1: 1, 7: 7, 16: 16, 20: 16, 32: 16, 64: 32, 256: 128}


def test_replicas_come_with_demand_and_no_sooner() -> None:
    pool = Pool(50, room=32)
    touched = [len({pool.ask("sha256:a")} | pool.engines_of("sha256:a")) for _ in range(320)]
    assert touched[:32] == [1] * 32
    assert touched[32] == 2
    assert touched[-1] == 10  # 320 requests are ten engines' room
    assert max(pool.load.values()) == 32


@pytest.mark.parametrize("seed", range(3))
def test_no_engine_has_more_than_its_bounded_share(seed: int) -> None:
    draw = random.Random(seed)
    pool = Pool(10, room=4)
    weights = [1 / rank for rank in range(1, 201)]
    for asked, adapter in enumerate(draw.choices(range(200), weights, k=2000), 1):
        pool.ask(f"sha256:{adapter}")
        bound = max(4, LOAD_FACTOR * asked / 10 + 1)
        assert max(pool.load.values()) <= bound
    # What is busy everywhere is not loaded everywhere: 200 adapters in 10 engines.
    assert len(pool.held) < 200 * 2


def test_one_that_has_it_is_asked_before_one_that_is_preferred() -> None:
    assert _choose(Seen(0, 4, False), Seen(3, 4, True)) == 1
    assert _choose(Seen(0, 4, True), Seen(0, 4, True)) == 0
    # Full, and the preferred one relieves it.
    assert _choose(Seen(0, 4, False), Seen(4, 4, True)) == 0


def test_a_further_engine_loads_it_only_where_that_relieves() -> None:
    # 6 of room 4, where the share is 1.5 × (6 + 5 + 1) / 2 = 9: busy alike, so it stays.
    assert _choose(Seen(5, 4, False), Seen(6, 4, True)) == 1
    # 12 is above its 1.5 × (12 + 3 + 1) / 2 = 12, and 3 is less busy by more than the factor.
    assert _choose(Seen(3, 4, False), Seen(12, 4, True)) == 0
    # 3 of 4 is less busy than 1 of 1, but not by the factor: the next one is asked.
    assert _choose(Seen(1, 1, True), Seen(3, 4, False), Seen(0, 4, False)) == 2
    # Room counts, not the number: 6 of 16 is less busy than 4 of 4.
    assert _choose(Seen(6, 16, False), Seen(4, 4, True)) == 0


def test_without_a_holder_the_first_that_is_not_full_loads_it() -> None:
    assert _choose(Seen(0, 4, False), Seen(0, 4, False)) == 0
    assert _choose(Seen(9, 4, False), Seen(0, 4, False)) == 1
    # 1 of room 4 is above 1.5 × its share of two requests, and no load: it stays preferred.
    assert _choose(Seen(1, 4, False), Seen(0, 16, False)) == 0


def _homes(ids: Iterable[str], digests: list[str]) -> dict[str, str]:
    names = list(ids)
    ranking = Ranking(names)
    idle = Seen(0, 32, False)
    return {digest: names[choose(ranking.of(digest), lambda _: idle)] for digest in digests}


def test_without_one_engine_of_fifty_its_adapters_move_and_no_others() -> None:
    names = [f"engine-{number}" for number in range(50)]
    digests = [f"sha256:{number}" for number in range(5000)]
    before, after = _homes(names, digests), _homes(names[1:], digests)
    moved = {digest for digest in digests if before[digest] != after[digest]}
    assert moved == {digest for digest in digests if before[digest] == names[0]}
    assert len(moved) <= 5000 * (1 / 50 + 0.01)
    spread = Counter(after[digest] for digest in moved)
    assert len(spread) > 30  # and they spread over the rest
    # The order in which engines are named changes nothing.
    assert _homes(reversed(names), digests) == before


def test_no_more_engines_are_looked_at_than_are_needed() -> None:
    looked: list[int] = []

    def see(engine: int) -> Seen:
        looked.append(engine)
        return Seen(0, 32, engine == 0)

    assert choose(range(500), see) == 0
    assert looked == [0]


def test_the_base_itself_is_asked_where_least_of_the_room_is_taken() -> None:
    seen = [Seen(3, 4, False), Seen(8, 16, False), Seen(2, 2, False)]
    assert least_busy(range(3), seen.__getitem__) == 1


def test_everything_is_somewhere_whatever_is_seen() -> None:
    levels = [
        Seen(load, room, holds)
        for load in (0, 1, 4, 9)
        for room in (1, 4)
        for holds in (True, False)
    ]
    for seen in itertools.product(levels, repeat=3):
        engine = _choose(*seen)
        now = seen[engine]
        others = [one for one in seen if one.holds]
        if not now.holds and others:  # loaded once more, so nobody that has it is idle
            assert min(one.load / one.room for one in others) >= 1
