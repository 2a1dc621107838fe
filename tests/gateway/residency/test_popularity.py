"""How much an adapter is asked for, aged; and that the least asked for makes room."""

from __future__ import annotations

from math import log2

import pytest

from adapterworks.gateway.residency.entry import Entry
from adapterworks.gateway.residency.popularity import HALF_LIFE, Popularity
from adapterworks.gateway.residency.victim import victim
from tests.gateway.residency.scripted import Scripted, release, settle


def test_a_request_counts_half_after_its_half_life() -> None:
    popularity = Popularity(10.0)
    for _ in range(4):
        popularity.note("a", 0.0)
    assert popularity.level("a") == pytest.approx(log2(4))
    # Four requests of two half-lives ago are one of now.
    assert popularity.note("b", 20.0) == pytest.approx(popularity.level("a"))
    assert popularity.note("a", 20.0) == pytest.approx(2.0 + log2(2))
    assert popularity.level("never") == float("-inf")


def test_what_was_popular_long_ago_gives_way() -> None:
    popularity = Popularity(10.0)
    for _ in range(1000):
        popularity.note("old", 0.0)
    popularity.note("new", 99.0)
    assert popularity.level("old") > popularity.level("new")
    popularity.note("new", 101.0)
    assert popularity.level("old") < popularity.level("new")


def test_no_more_are_remembered_than_most() -> None:
    popularity = Popularity(HALF_LIFE, most=8)
    for _ in range(3):
        popularity.note("kept", 0.0)
    for number in range(1000):
        popularity.note(str(number), 1.0)
        assert len(popularity._known) <= 8
    assert popularity.level("kept") > popularity.level("999") > float("-inf")


def test_the_least_asked_for_makes_room_not_the_least_recently_used() -> None:
    often = Entry(release("often"), "resident", used=1.0, requests=9, level=4.0)
    once = Entry(release("once"), "resident", used=2.0, requests=1, level=1.0)
    assert victim([often, once], busy=(), wanted=()) is once
    assert victim([often, once], busy={once.release.digest}, wanted=()) is often


async def test_a_look_at_many_does_not_drive_out_what_is_used() -> None:
    engine = Scripted(slots=2, capacity=2)
    residency = engine.residency()
    for name in ("a", "a", "a", "b", "c", "d", "e", "a"):
        async with residency.lease(release(name)):
            pass
        await settle()
    assert [line for line in engine.log if line.startswith("+")] == ["+a", "+b", "+c", "+d", "+e"]
    residency.close()
