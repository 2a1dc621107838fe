"""Residency on a scripted engine: loaded and proved once, unloaded in order, never in use."""

from __future__ import annotations

import asyncio
import time
import traceback

import pytest

from adapterworks.gateway.admission.fairness import FairQueue
from adapterworks.gateway.engines.engine import NotAsked
from adapterworks.gateway.residency import places
from adapterworks.gateway.residency import residency as module
from adapterworks.gateway.residency.residency import Residency
from adapterworks.gateway.residency.verdict import Proof, ProofFailed
from adapterworks.manifests.errors import IntegrityError, Unavailable
from tests.gateway.residency.scripted import Scripted, release, settle, stages

A, B, C, D, E = (release(name) for name in "abcde")


async def test_many_who_ask_at_once_make_one_load() -> None:
    engine = Scripted()
    engine.gates["a"] = asyncio.Event()
    residency = engine.residency()
    asking = [asyncio.create_task(residency.warm(A)) for _ in range(5)]
    await settle()
    assert stages(residency) == {"a": "loading"}
    asking += [asyncio.create_task(residency.warm(A)) for _ in range(5)]
    await settle()
    engine.gates["a"].set()
    assert await asyncio.gather(*asking) == [True] * 10
    assert not await residency.warm(A)
    assert engine.log == ["+a", "seen a proved"]
    assert stages(residency) == {"a": "resident"}


async def test_whoever_started_a_load_may_leave() -> None:
    engine = Scripted()
    engine.gates["a"] = asyncio.Event()
    residency = engine.residency()
    first = asyncio.create_task(residency.warm(A))
    await settle()
    second = asyncio.create_task(residency.warm(A))
    await settle()
    first.cancel()
    await settle()
    engine.gates["a"].set()
    assert await second
    assert engine.log == ["+a", "seen a proved"]


async def test_a_lease_counts_its_user_and_keeps_the_time() -> None:
    engine = Scripted()
    residency = engine.residency()
    async with residency.lease(A) as entry:
        assert (entry.users, entry.requests, entry.stage) == (1, 1, "resident")
        assert entry.proof is not None
        began = entry.busy_since
        assert began > 0
        async with residency.lease(A) as same:
            assert same is entry
            assert (entry.users, entry.requests) == (2, 2)
            assert entry.busy_since == began  # when it rose from none
        assert entry.users == 1
        entry.used = 0.0
    assert entry.users == 0
    assert entry.used > 0.0
    async with residency.lease(A):
        assert entry.busy_since > began


async def test_a_refused_adapter_is_unloaded_and_refused_again_without_a_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Scripted()
    residency = engine.residency()
    measured = Proof("proved", divergence=3.0, separation=1.0)
    engine.faults["a"] = ProofFailed("is not what was built", hint="", measured=measured)
    for _ in range(2):
        with pytest.raises(ProofFailed, match="is not what was built"):
            await residency.warm(A)
    assert engine.log == ["+a", "-a", "seen a refused"]
    (entry,) = residency.entries
    assert (entry.stage, entry.proof) == ("refused", measured)
    # A minute later it is tried once more.
    now, ended = time.time(), entry.ended
    monkeypatch.setattr(module.time, "monotonic", lambda: ended + 59.0)
    with pytest.raises(ProofFailed):
        await residency.warm(A)
    monkeypatch.setattr(module.time, "monotonic", lambda: ended + 61.0)
    monkeypatch.setattr(module.time, "time", lambda: now - 3600.0)  # whatever the clock is set to
    assert await residency.warm(A)
    assert engine.log[3:] == ["+a", "seen a proved"]


async def test_a_refusal_that_is_kept_gathers_nothing_of_those_who_are_told() -> None:
    """Neither the frames of each, for a minute, nor what one of them makes of it."""
    engine = Scripted()
    residency = engine.residency()
    engine.faults["a"] = ProofFailed("it answers wrongly", hint="build it again")
    gate = residency.gate(A)
    told = []
    for _ in range(3):
        with pytest.raises(ProofFailed) as caught:
            await residency.warm(A)
        told.append(caught.value)
        with pytest.raises(ProofFailed) as caught:
            gate.open()
        told.append(caught.value)
    (entry,) = residency.entries
    kept = entry.error
    assert kept is not None
    assert [(error.message, error.hint) for error in told] == 6 * [(kept.message, kept.hint)]
    assert len({id(error) for error in (*told, kept)}) == 7
    assert kept.__notes__ == told[0].__notes__ == ["hint: build it again"]
    before = len(traceback.extract_tb(kept.__traceback__))
    for _ in range(3):
        with pytest.raises(ProofFailed):
            gate.open()
    assert len(traceback.extract_tb(kept.__traceback__)) == before


async def test_damaged_bytes_are_refused_too_and_an_engine_away_is_not() -> None:
    engine = Scripted()
    residency = engine.residency()
    engine.faults["a"] = IntegrityError("damaged")
    with pytest.raises(IntegrityError):
        await residency.warm(A)
    assert stages(residency) == {"a": "refused"}
    engine.faults["b"] = Unavailable("away")
    with pytest.raises(Unavailable, match="away"):
        await residency.warm(B)
    assert stages(residency) == {"a": "refused"}
    assert await residency.warm(B)  # the next request loads again
    assert engine.log[-3:] == ["seen b failed", "+b", "seen b proved"]


async def test_a_bug_leaves_nothing_that_loads_for_ever() -> None:
    engine = Scripted()
    residency = engine.residency()
    engine.faults["a"] = RuntimeError("bug")
    with pytest.raises(RuntimeError, match="bug"):
        await residency.warm(A)
    assert stages(residency) == {}
    assert engine.log == ["+a", "-a"]  # nor anything in the engine that nobody counts
    assert await residency.warm(A)


async def test_capacity_holds_and_the_least_recently_used_goes() -> None:
    engine = Scripted(capacity=2)
    residency = engine.residency()
    for one in (A, B, A, C):
        async with residency.lease(one):
            pass
    assert engine.log == [
        "+a", "seen a proved", "+b", "seen b proved", "-b", "seen b evicted", "+c", "seen c proved",
    ]  # fmt: skip
    assert stages(residency) == {"a": "resident", "c": "resident"}
    assert engine.most == 2


async def test_refused_ones_take_no_place() -> None:
    engine = Scripted(capacity=2)
    residency = engine.residency()
    for one in (A, B):
        engine.faults[one.name] = ProofFailed("no", hint="")
        with pytest.raises(ProofFailed):
            await residency.warm(one)
    await residency.warm(C)
    await residency.warm(D)
    assert [line for line in engine.log if line.endswith("evicted")] == []


async def test_nothing_is_unloaded_while_it_is_used_and_then_takes_no_more() -> None:
    engine = Scripted(capacity=1)
    residency = engine.residency()
    async with residency.lease(A) as entry:
        waiting = asyncio.create_task(residency.warm(B))
        await settle()
        assert entry.leaving
        assert "-a" not in engine.log
        late = asyncio.create_task(_use(residency, "a"))
        await settle()
        assert entry.users == 1  # it is leaving: nobody new
    await waiting
    assert engine.log[:4] == ["+a", "seen a proved", "-a", "seen a evicted"]
    await late
    assert engine.log.count("+a") == 2
    assert engine.most == 1


async def test_whoever_waits_for_one_that_is_leaving_asks_for_it_again_when_it_is_gone() -> None:
    """And does not wait for what takes its place."""
    engine = Scripted(capacity=1)
    residency = engine.residency()
    engine.gates["b"] = asyncio.Event()
    async with residency.lease(A):
        other = asyncio.create_task(residency.warm(B))
        await settle()
        late = asyncio.create_task(_use(residency, "a"))
        await settle()
    await settle()
    assert stages(residency) == {"b": "loading", "a": "waiting"}
    engine.gates["b"].set()
    await asyncio.gather(other, late)


async def _use(residency: Residency, name: str) -> str:
    async with residency.lease(release(name)):
        return name


async def test_a_pinned_adapter_is_not_unloaded_and_a_wanted_one_is_not_the_first() -> None:
    engine = Scripted(capacity=3, slots=3)
    residency = engine.residency()
    residency.pin(A)
    await settle()
    assert stages(residency) == {"a": "resident"}
    await residency.warm(B)
    await residency.warm(C)
    with residency._places.want(B.digest):
        await residency.warm(D)
    assert [line for line in engine.log if line.startswith("-")] == ["-c"]
    assert [entry.pinned for entry in residency.entries] == [True, False, False]
    residency.pin(B)
    await residency.warm(E)
    assert [line for line in engine.log if line.startswith("-")] == ["-c", "-d"]


async def test_of_those_that_nobody_uses_the_one_used_last_stays() -> None:
    """Whatever was busy longest, then or now."""
    engine = Scripted(capacity=2, slots=2)
    residency = engine.residency()
    for one, since, used in ((A, 2.0, 3.0), (B, 1.0, 4.0)):
        async with residency.lease(one) as entry:
            pass
        entry.busy_since, entry.used = since, used
    await residency.warm(C)
    assert stages(residency) == {"b": "resident", "c": "resident"}


async def test_if_all_are_busy_the_one_that_has_been_longest_goes() -> None:
    engine = Scripted(capacity=2)
    residency = engine.residency()
    async with residency.lease(B) as late:
        async with residency.lease(A) as early:
            early.busy_since, late.busy_since = 1.0, 2.0
            waiting = asyncio.create_task(residency.warm(C))
            await settle()
            assert (early.leaving, late.leaving) == (True, False)
        await waiting
    assert stages(residency) == {"b": "resident", "c": "resident"}


async def test_a_pin_in_the_only_place_is_waited_for_while_it_is_used_and_goes_then() -> None:
    engine = Scripted(capacity=1)
    residency = engine.residency(cold_wait=0.05)
    residency.pin(A)
    await settle()
    async with residency.lease(A):
        with pytest.raises(Unavailable, match="still being loaded or has no free slot") as caught:
            await residency.warm(B)
        assert caught.value.retry_after == 2.0
    await settle()
    assert engine.log[-3:] == ["seen a evicted", "+b", "seen b proved"]


@pytest.mark.parametrize("how", ["leaves", "loses patience", "leaves the queue"])
async def test_one_that_was_to_go_stays_open_when_nobody_waits_for_its_place(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one request that came and left would close it for as long as its longest stream."""
    monkeypatch.setattr(places, "COMES_BACK_SECONDS", 0.05)
    engine = Scripted(capacity=1)
    residency = engine.residency(cold_wait=0.05 if how == "loses patience" else 60.0)
    queue = FairQueue(slots=5)
    residency.seats.on_change(queue.look_again)

    async def in_turn() -> None:
        async with queue.turn("t", 1, gate=residency.gate(B)):
            raise AssertionError

    async with residency.lease(A) as entry:
        wanting = in_turn() if how == "leaves the queue" else residency.warm(B)
        asking = asyncio.create_task(wanting)
        await settle()
        assert (entry.leaving, residency.gate(A).open()) == (True, False)
        if how != "loses patience":
            asking.cancel()
        await asyncio.wait({asking})
        assert entry.leaving  # whoever asks again soon finds its place kept
        deadline = time.monotonic() + 5
        while entry.leaving:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert residency.gate(A).open()
        assert stages(residency) == {"a": "resident"}
    await settle()
    assert engine.log == ["+a", "seen a proved"]  # and nothing is loaded for nobody
    assert await residency.warm(B)


async def test_whoever_comes_back_for_a_place_has_kept_it(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Scripted(capacity=1)
    residency = engine.residency()
    monkeypatch.setattr(places, "COMES_BACK_SECONDS", 0.3)
    async with residency.lease(A) as entry:
        for _ in range(2):
            asking = asyncio.create_task(residency.warm(B))
            await settle()
            asking.cancel()
            await asyncio.sleep(0.2)  # shorter than it is kept, twice longer
            assert entry.leaving
        asking = asyncio.create_task(residency.warm(B))
        await asyncio.sleep(0.4)
        assert entry.leaving
    assert await asking


async def test_a_place_for_what_is_loaded_in_the_background_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(places, "COMES_BACK_SECONDS", 0.0)
    engine = Scripted(capacity=2)
    residency = engine.residency()
    async with residency.lease(A), residency.lease(C):
        residency.pin(B)
        await settle()
        assert sum(entry.leaving for entry in residency.entries) == 1
        residency.seats.wake()
        await settle()
        assert sum(entry.leaving for entry in residency.entries) == 1
    await settle()
    assert residency.holds(B.digest)


async def test_a_slot_that_does_not_come_free_is_told_and_given_up() -> None:
    engine = Scripted(slots=1)
    residency = engine.residency(cold_wait=1.0)  # long enough to load it on a busy machine
    async with residency.lease(A) as entry:
        with pytest.raises(Unavailable, match="`b` is still being loaded or has no free slot"):
            await _use(residency, "b")
        assert not entry.yielding  # nobody waits any more: it takes requests again
        assert await _use(residency, "a") == "a"
    assert await _use(residency, "b") == "b"


async def test_whoever_yields_does_so_until_its_last_user_is_gone() -> None:
    engine = Scripted(slots=1)
    residency = engine.residency()
    async with residency.lease(A) as entry:
        async with residency.lease(A):
            waiting = asyncio.create_task(_use(residency, "b"))
            await settle()
            assert entry.yielding
        assert entry.yielding
    assert not entry.yielding
    assert await waiting == "b"


async def test_an_unload_that_outlives_its_engine_forgets_nothing_of_the_new_one() -> None:
    engine = Scripted(capacity=2)
    residency = engine.residency()
    await residency.warm(A)
    await residency.warm(B)
    engine.gates["-a"] = asyncio.Event()
    waiting = asyncio.create_task(residency.warm(C))
    await settle()
    assert stages(residency)["a"] == "unloading"
    engine.restart()
    await settle()
    again = asyncio.create_task(residency.warm(A))
    await settle()
    assert stages(residency)["a"] != "unloading"
    engine.gates.pop("-a").set()
    await asyncio.gather(waiting, again, return_exceptions=True)
    assert again.result()
    assert stages(residency)["a"] == "resident"


async def test_what_waits_for_room_in_an_engine_that_is_restarted_is_loaded_once() -> None:
    """By the reload, which is counted; not by the load that was waiting too, which is not."""
    engine = Scripted(capacity=1)
    residency = engine.residency()
    async with residency.lease(A):
        waiting = asyncio.create_task(residency.warm(B))
        await settle()
        assert stages(residency) == {"a": "resident", "b": "waiting"}
        engine.restart()
        with pytest.raises(Unavailable, match="restarted meanwhile"):
            await waiting
    await settle()
    assert engine.log.count("+b") == 1
    assert stages(residency) == {"b": "resident"}
    assert engine.most == 1


async def test_one_that_the_engine_lost_while_it_was_to_go_is_not_unloaded_later() -> None:
    """By then it may be there again, for somebody else."""
    engine = Scripted(slots=3, capacity=2)
    residency = engine.residency()
    async with residency.lease(A), residency.lease(C):
        waiting = asyncio.create_task(residency.warm(B))
        await settle()
        (leaving,) = [entry for entry in residency.entries if entry.leaving]
        assert leaving.release.name == "a"
        residency.lost([A.digest])
        await waiting
    await settle()
    assert [line for line in engine.log if line[0] == "-"] == []
    assert stages(residency) == {"c": "resident", "b": "resident"}


async def test_a_load_of_an_engine_that_was_restarted_does_not_count() -> None:
    engine = Scripted()
    engine.gates["a"] = asyncio.Event()
    residency = engine.residency()
    asking = asyncio.create_task(residency.warm(A))
    await settle()
    engine.generation += 1
    engine.gates.pop("a").set()
    with pytest.raises(Unavailable, match="restarted meanwhile"):
        await asking
    assert stages(residency) == {}


async def test_a_new_engine_gets_what_the_old_one_held_pins_first() -> None:
    engine = Scripted(capacity=3)
    residency = engine.residency()
    for one in (A, B, C):
        async with residency.lease(one) as entry:
            pass
        entry.used = float(ord(one.name[0]))
    engine.faults["d"] = ProofFailed("no", hint="")
    with pytest.raises(ProofFailed):
        await residency.warm(D)
    residency.pin(A)
    engine.capacity = 2
    engine.log.clear()
    engine.restart()
    await settle()
    assert engine.log == ["+a", "seen a proved", "+c", "seen c proved"]
    assert stages(residency) == {"a": "resident", "c": "resident"}
    assert [entry.pinned for entry in residency.entries] == [True, False]
    residency.close()
    engine.log.clear()
    engine.restart()
    await settle()
    assert engine.log == []


async def test_a_request_that_waits_while_the_engine_is_replaced_loads_it_again() -> None:
    engine = Scripted(slots=1)
    residency = engine.residency()
    async with residency.lease(A):
        waiting = asyncio.create_task(_use(residency, "b"))
        await settle()
        engine.restart()
        await settle()
    assert await waiting == "b"
    assert engine.log.count("+b") == 2


async def test_whoever_waits_for_a_slot_of_the_old_engine_does_not_wait_for_its_adapters() -> None:
    """The new one's slots are free, however long the first loads take there."""
    engine = Scripted(slots=1)
    residency = engine.residency()
    async with residency.lease(A) as entry:
        waiting = [asyncio.create_task(_use(residency, name)) for name in "bc"]
        await settle()
        entry.used = time.monotonic() + 100.0  # it is the first to be loaded again
        engine.gates["a"] = engine.gates["b"] = asyncio.Event()
        engine.restart()
        await settle()
        assert engine.log[-4:] == ["+a", "+b", "+c", "seen c proved"]
        assert await waiting[1] == "c"
        assert not waiting[0].done()
    engine.gates["a"].set()
    assert await waiting[0] == "b"


async def test_an_unload_is_waited_for_by_whoever_wants_it_back() -> None:
    """A load that overtakes the unload would leave the engine without it."""
    engine = Scripted(capacity=1)
    residency = engine.residency()
    await residency.warm(A)
    engine.gates["-a"] = asyncio.Event()
    other = asyncio.create_task(residency.warm(B))
    await settle()
    assert stages(residency) == {"a": "unloading", "b": "waiting"}
    back = asyncio.create_task(residency.warm(A))
    await settle()
    assert engine.log == ["+a", "seen a proved"]
    engine.gates.pop("-a").set()
    await asyncio.gather(other, back)
    assert engine.log.index("-a") < engine.log.index("+b") < engine.log.index("-b")
    assert engine.log[-2:] == ["+a", "seen a proved"]


async def test_two_who_ask_for_one_place_do_not_unload_each_others_for_ever() -> None:
    engine = Scripted(slots=1, capacity=1)
    residency = engine.residency(cold_wait=1.0)
    assert await asyncio.gather(*(_use(residency, name) for name in "abc")) == ["a", "b", "c"]
    assert [line for line in engine.log if line[0] in "+-"] == ["+a", "-a", "+b", "-b", "+c"]


async def test_one_that_was_loaded_and_is_not_wanted_any_more_makes_room() -> None:
    engine = Scripted(slots=1, capacity=1)
    residency = engine.residency()
    engine.gates["a"] = asyncio.Event()
    leaving = asyncio.create_task(_use(residency, "a"))
    await settle()
    waiting = asyncio.create_task(_use(residency, "b"))
    await settle()
    leaving.cancel()
    await settle()
    engine.gates["a"].set()
    async with asyncio.timeout(1.0):
        assert await waiting == "b"


async def test_an_engine_that_cannot_unload_is_taken_to_hold_nothing() -> None:
    engine = Scripted(capacity=1)

    async def fail(*_: object) -> None:
        raise Unavailable("away")

    residency = engine.residency()
    residency._places._unload = fail
    await residency.warm(A)
    assert await residency.warm(B)
    assert stages(residency) == {"b": "resident"}


async def test_a_load_ends_when_the_gateway_does() -> None:
    engine = Scripted()
    engine.gates["a"] = asyncio.Event()
    residency = engine.residency()
    residency.pin(A)
    asking = asyncio.create_task(residency.warm(B))
    engine.gates["b"] = asyncio.Event()
    await settle()
    assert stages(residency) == {"a": "loading", "b": "loading"}
    residency.close()
    await settle()
    assert stages(residency) == {}
    with pytest.raises(NotAsked, match="let go of"):
        await asking
    with pytest.raises(NotAsked, match="let go of"):
        await residency.warm(C)
    assert engine.log == ["+a", "+b"]


async def test_whoever_waits_for_a_load_of_an_engine_that_leaves_is_told_and_not_cancelled() -> (
    None
):
    engine = Scripted(capacity=1)
    engine.gates["a"] = asyncio.Event()
    residency = engine.residency()
    queue = FairQueue(slots=1)
    residency.seats.on_change(queue.look_again)

    async def in_turn() -> None:
        async with queue.turn("t", 1, gate=residency.gate(A)):
            raise AssertionError

    waiting = [
        asyncio.create_task(residency.warm(A)),
        asyncio.create_task(residency.warm(B)),  # waits for A's place
        asyncio.create_task(in_turn()),
    ]
    await settle()
    residency.close()
    ended = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 2.0)
    assert [type(end) for end in ended] == [NotAsked] * 3


async def test_whoever_is_cancelled_while_it_waits_for_a_load_is() -> None:
    engine = Scripted()
    engine.gates["a"] = asyncio.Event()
    asking = asyncio.create_task(engine.residency().warm(A))
    await settle()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_an_engine_that_is_not_ready_gets_its_pins_when_it_is() -> None:
    engine = Scripted(state="starting")
    residency = engine.residency()
    residency.pin(A)
    residency.pin(B)
    residency.unpin("b", keep=set())  # there is nothing of it yet
    await settle()
    assert engine.log == []
    engine.state = "ready"
    engine.restart()
    await settle()
    assert engine.log == ["+a", "seen a proved"]
