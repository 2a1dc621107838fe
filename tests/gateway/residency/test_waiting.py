"""A load is waited for as long as it comes further; whoever is sent away is told how far it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapterworks.gateway.admission.fairness import FairQueue
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.residency import waiting
from adapterworks.gateway.residency.entry import Entry
from adapterworks.gateway.residency.residency import Residency
from adapterworks.gateway.residency.verdict import Proof, ProofFailed
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.releases.release import Release
from tests.gateway.residency.scripted import Scripted, release, settle
from tests.registry.releases import BASE, draft

A, B, C = (release(name) for name in "abc")
WAIT = 0.3


class Slow:
    """An engine that loads in steps of half the patience, and in the end stands still if told."""

    def __init__(self, steps: int, *, stalls: bool = False) -> None:
        self.steps, self.stalls = steps, stalls
        self.stalled = asyncio.Event()

    async def load(self, engine: Engine, of: Release, tell: Callable[[str], None]) -> Proof:
        for step in range(self.steps):
            tell(f"step {step + 1} of {self.steps}")
            await asyncio.sleep(WAIT / 2)
        if self.stalls:
            await self.stalled.wait()
        return Proof("proved", divergence=0.0, separation=1.0)

    def residency(self) -> Residency:
        engine = Scripted()
        return Residency(cast(Engine, engine), self.load, engine.unload, cold_wait=WAIT)


async def _lease(residency: Residency) -> None:
    async with residency.lease(A):
        pass


async def _gate(residency: Residency) -> None:
    queue = FairQueue(4)
    residency.seats.on_change(queue.look_again)
    gate = residency.gate(A)
    async with queue.turn("t", 1, gate=gate):
        with gate.use():
            pass


WAYS: dict[str, Callable[[Residency], Any]] = {
    "warm": lambda residency: residency.warm(A),
    "lease": _lease,
    "gate": _gate,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
async def test_a_load_that_comes_further_is_waited_for(way: Callable[[Residency], Any]) -> None:
    """Three times the patience in all, and never more than half of it in one step."""
    residency = Slow(6).residency()
    began = time.monotonic()
    await way(residency)
    assert time.monotonic() - began > 2 * WAIT
    assert residency.holds(A.digest)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
async def test_one_that_stands_still_is_not_and_who_waited_is_told_where(
    way: Callable[[Residency], Any],
) -> None:
    slow = Slow(3, stalls=True)
    residency = slow.residency()
    with pytest.raises(Unavailable) as caught:
        await way(residency)
    assert "`a` is still being loaded, for " in caught.value.message
    assert caught.value.message.endswith(": step 3 of 3")
    assert caught.value.retry_after is not None
    slow.stalled.set()  # the load goes on, for whoever asks next
    await settle()
    assert residency.holds(A.digest)


def _entry(stage: Any, *, begun: float, moved: float) -> Entry:
    entry = Entry(A, stage, begun=begun, moved=moved)
    entry.step = "proving it, 3 of 5 probes answered"
    return entry


def test_only_a_load_has_more_time_than_was_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: 100.0))
    assert waiting.left(None, 90.0, 30.0) == 20.0
    assert waiting.left(_entry("waiting", begun=70.0, moved=99.0), 90.0, 30.0) == 20.0
    assert waiting.left(_entry("resident", begun=70.0, moved=99.0), 90.0, 30.0) == 20.0
    assert waiting.left(_entry("loading", begun=70.0, moved=99.0), 90.0, 30.0) == 29.0
    assert waiting.left(_entry("loading", begun=70.0, moved=71.0), 90.0, 30.0) == 20.0


@pytest.mark.parametrize(("usual", "again"), [(20.0, 12), (8.4, 1), (2.0, 1)])
def test_when_to_ask_again_is_when_a_load_usually_ends(
    usual: float, again: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: 100.0))
    told = waiting.too_slow(A, _entry("loading", begun=92.0, moved=99.0), usual)
    assert told.message == (
        "`a` is still being loaded, for 8 s now: proving it, 3 of 5 probes answered"
    )
    assert told.hint == f"try again in {again} s: the load goes on"
    assert told.retry_after == again


def _beginning(*, slots: int = 2) -> tuple[Scripted, Residency]:
    engine = Scripted(slots=slots, capacity=3, state="starting")
    engine.base = SimpleNamespace(digest=BASE.digest)  # type: ignore[attr-defined]
    return engine, engine.residency()


def _comes_up(engine: Scripted) -> None:
    engine.state = "ready"
    engine.restart()


async def test_it_is_settled_when_pins_and_the_first_are_loaded_and_proved() -> None:
    engine, residency = _beginning()
    engine.gates["b"] = asyncio.Event()
    residency.begin_with([A, B, C])
    assert residency.unsettled == "the pins are not read yet"
    residency.pin(C)
    residency.pins_are_told()
    _comes_up(engine)
    await settle()
    assert residency.unsettled == "adapters are being loaded: 2 of 3"
    engine.gates["b"].set()
    await settle()
    assert residency.unsettled is None
    # As many as a batch can mix, besides the pins, which come first.
    assert [line for line in engine.log if line[0] == "+"] == ["+c", "+a", "+b"]
    engine.restart()  # what comes later is no beginning
    assert residency.unsettled is None


async def test_as_many_are_begun_with_as_one_batch_can_mix_and_of_this_base() -> None:
    engine, residency = _beginning(slots=1)
    other = BASE.model_copy(update={"digest": "sha256:" + "e" * 64})
    elsewhere = Release.from_draft(draft(1, "elsewhere", base=other), {})
    residency.begin_with([elsewhere, A, B])
    residency.pins_are_told()
    _comes_up(engine)
    await settle()
    assert [line for line in engine.log if line[0] == "+"] == ["+a"]


async def test_one_that_cannot_be_proved_does_not_keep_it_from_beginning() -> None:
    engine, residency = _beginning()
    engine.faults["a"] = ProofFailed("no", hint="")
    engine.faults["b"] = Unavailable("not now")
    residency.begin_with([A, B])
    residency.pins_are_told()
    _comes_up(engine)
    await settle()
    assert residency.unsettled is None
