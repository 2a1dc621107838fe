"""A seat and a turn are taken together, and what holds neither holds up nobody."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from adapterworks.gateway.admission.fairness import FairQueue
from adapterworks.gateway.engines.engine import NotLoaded
from adapterworks.gateway.residency.residency import Residency
from adapterworks.gateway.residency.verdict import ProofFailed
from adapterworks.manifests.errors import Refused, Unavailable
from adapterworks.registry.releases.release import Release
from tests.gateway.residency.scripted import Scripted, release, settle, stages

A, B, C, D = (release(name) for name in "abcd")


class Front:
    """An engine with its residency and its queue, put together as the gateway does."""

    def __init__(
        self, *, slots: int = 1, turns: int = 4, cold_wait: float = 60.0, capacity: int = 4
    ) -> None:
        self.engine = Scripted(slots=slots, capacity=capacity)
        self.residency: Residency = self.engine.residency(cold_wait=cold_wait)
        self.queue = FairQueue(turns, max_wait=60.0)
        self.residency.seats.on_change(self.queue.look_again)
        self.at_work: list[str] = []
        self.done: dict[str, asyncio.Event] = {}

    async def ask(self, name: str, of: Release | None, tenant: str = "t") -> str:
        """One request; at work until `done[name]` is set."""
        gate = None
        if of is not None:
            await self.residency.warm(of)
            gate = self.residency.gate(of)
        async with self.queue.turn(tenant, 1, gate=gate):
            with gate.use() if gate is not None else contextlib.nullcontext():
                self.at_work.append(name)
                await self.done.setdefault(name, asyncio.Event()).wait()
                self.at_work.remove(name)
        return name

    def begin(self, name: str, of: Release | None, tenant: str = "t") -> asyncio.Task[str]:
        self.done[name] = asyncio.Event()
        return asyncio.create_task(self.ask(name, of, tenant))

    def free(self) -> bool:
        """Whether nothing is held."""
        return (
            self.queue.running == self.queue.waiting == 0
            and not self.residency.seats.busy
            and not self.residency.seats._asking
            and not any(entry.yielding for entry in self.residency.entries)
        )


async def test_whoever_waits_for_a_seat_holds_no_turn() -> None:
    front = Front(slots=1, turns=4)
    long = front.begin("long", A)
    await settle()
    waiting = [front.begin(f"b{n}", B) for n in range(6)]
    await settle()
    assert front.at_work == ["long"]
    assert (front.queue.running, front.queue.waiting) == (1, 6)
    base = front.begin("base", None)  # needs no seat: there are three turns left
    await settle()
    assert front.at_work == ["long", "base"]
    for event in front.done.values():
        event.set()
    await asyncio.gather(long, base, *waiting)
    assert front.free()


async def test_whoever_waits_for_a_turn_holds_no_seat() -> None:
    front = Front(slots=1, turns=1)
    base = front.begin("base", None)
    await settle()
    waiting = front.begin("a", A)
    await settle()
    assert front.residency.seats.busy == set()
    front.done["base"].set()
    front.done["a"].set()
    await asyncio.gather(base, waiting)
    assert front.free()


async def test_a_free_seat_goes_to_whose_turn_it_is() -> None:
    """Not to who came first: a tenant that was served much waits for one that was served little."""
    front = Front(slots=1, turns=4)
    for _ in range(3):
        front.queue.charge("greedy", 0)
        greedy = front.begin("g", A, "greedy")
        await settle()
        front.done["g"].set()
        await greedy
    held = front.begin("held", A, "greedy")
    await settle()
    more, quiet = front.begin("more", B, "greedy"), front.begin("quiet", C, "quiet")
    await settle()
    front.queue.charge("greedy", 1000)
    front.done["held"].set()
    await settle()
    assert front.at_work == ["quiet"]
    for event in front.done.values():
        event.set()
    await asyncio.gather(held, more, quiet)


async def test_an_adapter_that_yields_is_open_again_when_nobody_waits() -> None:
    """One that asks and gives up must not take a running adapter down with it."""
    front = Front(slots=1, turns=4, cold_wait=60.0)
    await front.residency.warm(B)
    long = front.begin("long", A)
    await settle()
    asking = front.begin("b", B)
    await settle()
    late = front.begin("late", A)
    await settle()
    assert front.at_work == ["long"]  # closed: somebody waits for its seat
    asking.cancel()
    await settle()
    assert front.at_work == ["long", "late"]
    for event in front.done.values():
        event.set()
    await asyncio.gather(long, late)
    assert front.free()


async def test_whoever_waits_too_long_for_a_seat_is_told_what_it_was() -> None:
    front = Front(slots=1, turns=4, cold_wait=0.5)
    await front.residency.warm(B)
    long = front.begin("long", A)
    await settle()
    with pytest.raises(Unavailable, match="`b` is still being loaded or has no free slot"):
        await front.ask("b", B)
    assert front.at_work == ["long"]
    front.done["long"].set()
    await long
    assert front.free()


async def test_one_that_was_unloaded_while_it_waited_for_its_turn_is_loaded_again() -> None:
    front = Front(slots=2, turns=1, capacity=1)
    base = front.begin("base", None)
    await settle()
    waiting = front.begin("a", A)
    await settle()
    front.residency.lost([A.digest])
    await settle()
    front.done["base"].set()
    front.done["a"].set()
    assert await asyncio.gather(base, waiting) == ["base", "a"]
    assert front.engine.log.count("+a") == 2
    assert front.free()


@pytest.mark.parametrize("fault", [ProofFailed("no", hint=""), Unavailable("away"), Refused("no")])
async def test_what_cannot_be_loaded_again_is_told_at_once(fault: Exception) -> None:
    front = Front(slots=2, turns=1)
    base = front.begin("base", None)
    await settle()
    waiting = front.begin("a", A)
    await settle()
    front.engine.faults["a"] = fault
    front.residency.lost([A.digest])
    with pytest.raises(type(fault)):
        await waiting
    front.done["base"].set()
    await base
    assert front.free()
    assert front.engine.log.count("+a") == 2  # once and once more, not for ever


async def test_a_turn_that_is_given_up_in_its_moment_gives_the_seat_back() -> None:
    front = Front(slots=1, turns=1)
    base = front.begin("base", None)
    await settle()
    waiting = front.begin("a", A)
    await settle()
    front.done["base"].set()
    front.queue.look_again()
    await asyncio.sleep(0)
    waiting.cancel()
    await settle()
    await base
    assert front.free()


async def test_an_engine_that_is_replaced_in_that_moment_is_told() -> None:
    front = Front()
    await front.residency.warm(A)
    gate = front.residency.gate(A)
    assert gate.claim()
    front.residency.lost([A.digest])
    with pytest.raises(NotLoaded), gate.use():
        pass
    assert front.free()


async def test_a_load_that_fails_for_now_leaves_nothing_in_the_engine() -> None:
    """Its proof could not be asked for; what nobody counts must not take a place."""
    engine = Scripted(capacity=1)
    residency = engine.residency()
    engine.faults["a"] = Unavailable("the proof got no answer")
    with pytest.raises(Unavailable):
        await residency.warm(A)
    assert engine.loaded == set()
    assert engine.log == ["+a", "-a", "seen a failed"]


async def test_more_pins_than_places_keep_nobody_out(caplog: pytest.LogCaptureFixture) -> None:
    engine = Scripted(capacity=2)
    residency = engine.residency(cold_wait=60.0)
    for one in (A, B, C):
        residency.pin(one)
    await settle()
    residency.warn_of_pins()
    residency.warn_of_pins()
    assert stages(residency) == {"a": "resident", "b": "resident"}
    await residency.warm(D)
    await residency.warm(C)
    assert engine.most == 2
    assert [r.getMessage() for r in caplog.records if "pinned" in r.getMessage()] == [
        "engine engine: 3 adapters are pinned, and it holds 2: the pins that were used last stay"
    ]


async def test_what_is_pinned_and_the_engine_lost_is_loaded_at_once() -> None:
    engine = Scripted()
    residency = engine.residency()
    residency.pin(A)
    await residency.warm(A)
    await residency.warm(B)
    engine.loaded.clear()
    assert residency.lost([A.digest, B.digest]) == ["a", "b"]
    await settle()
    assert stages(residency) == {"a": "resident"}
    assert engine.loaded == {"a"}
    assert [entry.pinned for entry in residency.entries] == [True]


async def test_what_the_engine_lost_is_loaded_for_whoever_asks_next() -> None:
    engine = Scripted()
    residency = engine.residency()
    await residency.warm(A)
    await residency.warm(B)
    assert residency.lost([A.digest, C.digest]) == ["a"]
    assert residency.lost([A.digest]) == []
    assert stages(residency) == {"b": "resident"}
    assert await residency.warm(A)


@pytest.mark.parametrize("ends", ["used", "left"])
async def test_one_that_was_loaded_for_a_turn_is_used_before_it_goes(ends: str) -> None:
    """A request waits longer for its turn than for its adapter, which is not free meanwhile."""
    front = Front(slots=2, turns=1, capacity=1)
    base = front.begin("base", None)
    await settle()
    first = front.begin("a", A)
    await settle()
    second = front.begin("b", B)
    await settle()
    assert stages(front.residency) == {"a": "resident", "b": "waiting"}
    if ends == "used":
        front.done["base"].set()
        await settle()
        assert front.at_work == ["a"]
        front.done["a"].set()
    else:
        first.cancel()
    await settle()
    assert stages(front.residency) == {"b": "resident"}
    for event in front.done.values():
        event.set()
    await asyncio.gather(base, first, second, return_exceptions=True)
    assert front.engine.log.count("+a") == front.engine.log.count("+b") == 1
    assert front.free()


async def test_whoever_waits_for_a_turn_has_its_adapter_loaded_once() -> None:
    front = Front(slots=2, turns=1, capacity=2)
    base = front.begin("base", None)
    await settle()
    waiting = [front.begin(one.name, one) for one in (A, B, C)]
    await settle()
    front.done["base"].set()
    for event in front.done.values():
        event.set()
    await asyncio.gather(base, *waiting)
    assert [line for line in front.engine.log if line[0] == "+"] == ["+a", "+b", "+c"]
    assert front.free()


async def test_a_seat_that_is_given_back_twice_was_one_seat() -> None:
    """Two requests of one adapter: what ends twice does not take the other one's."""
    front = Front(slots=1)
    await front.residency.warm(A)
    first, second = front.residency.gate(A), front.residency.gate(A)
    assert first.claim()
    assert second.claim()
    first.give_back()
    first.give_back()
    assert front.residency.seats.busy == {A.digest}
    second.give_back()
    assert not front.residency.seats.busy
