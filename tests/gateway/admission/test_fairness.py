"""Fairness: a flood does not move a quiet tenant, weights are shares, nothing is lost on cancel."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections import defaultdict
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapterworks.gateway.admission.fairness import FairQueue
from adapterworks.manifests.errors import Unavailable


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer: minutes are simulated in no time."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self._now = max(self._now, self._scheduled[0].when())
        super()._run_once()  # type: ignore[misc]


def simulate(main: Callable[[], object]) -> object:
    """Run a coroutine function in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())  # type: ignore[arg-type]


class FifoQueue(FairQueue):
    """The same queue in order of arrival: one tenant for everybody."""

    def turn(self, tenant_id, expected_tokens, *, weight=1.0):  # type: ignore[no-untyped-def,override]
        return super().turn("all", expected_tokens)


SECONDS_PER_TOKEN = 0.01


async def flood_and_quiet(queue: FairQueue, *, flood: bool) -> list[float]:
    """The quiet tenant's waits: 1 request/s for 60 s, beside one that keeps 100 in the queue."""
    waits = []
    rng = random.Random(7)
    over = False

    async def ask(tenant: str, tokens: int) -> float:
        async with queue.turn(tenant, tokens) as turn:
            real = max(1, int(tokens * rng.uniform(0.5, 1.2)))
            await asyncio.sleep(real * SECONDS_PER_TOKEN)
            turn.settle(real)
            return turn.waited

    async def flooder() -> None:
        while not over:
            await ask("noisy", 100)

    async def quiet() -> None:
        jobs = []
        for _ in range(60):
            jobs.append(asyncio.create_task(ask("quiet", 50)))
            await asyncio.sleep(1.0)
        waits.extend(await asyncio.gather(*jobs))

    flooders = [asyncio.create_task(flooder()) for _ in range(100 if flood else 0)]
    await asyncio.sleep(5.0)
    await quiet()
    over = True
    await asyncio.gather(*flooders)
    return waits


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def test_a_flood_does_not_move_a_quiet_tenant_as_fifo_does() -> None:
    alone = simulate(lambda: flood_and_quiet(FairQueue(8), flood=False))
    fair = simulate(lambda: flood_and_quiet(FairQueue(8), flood=True))
    fifo = simulate(lambda: flood_and_quiet(FifoQueue(8), flood=True))
    assert isinstance(alone, list)
    assert isinstance(fair, list)
    assert isinstance(fifo, list)
    assert p95(alone) == 0.0
    # Fair: the next free slot is the quiet tenant's; one of 8 slots comes free every 0.85 / 8 s.
    assert p95(fair) < 0.6
    # In order of arrival: behind 92 others, 92 × 0.85 / 8 s.
    assert p95(fifo) > 8.0
    assert p95(fair) * 15 < p95(fifo)


async def shares(
    queue: FairQueue, weights: dict[str, float], costs: dict[str, int]
) -> dict[str, int]:
    """Tokens served in 300 s to tenants that always have requests waiting."""
    served: dict[str, int] = defaultdict(int)

    async def client(tenant: str) -> None:
        while asyncio.get_running_loop().time() < 300:
            async with queue.turn(tenant, costs[tenant], weight=weights[tenant]):
                await asyncio.sleep(costs[tenant] * SECONDS_PER_TOKEN)
                if asyncio.get_running_loop().time() <= 300:
                    served[tenant] += costs[tenant]

    await asyncio.gather(*(client(tenant) for tenant in weights for _ in range(20)))
    return served


def test_tokens_are_shared_by_weight_whatever_a_request_costs() -> None:
    weights = {"small": 1.0, "large": 1.0, "heavy": 3.0}
    costs = {"small": 10, "large": 400, "heavy": 50}
    served = simulate(lambda: shares(FairQueue(4, max_wait=999), weights, costs))
    assert isinstance(served, dict)
    assert served["small"] == pytest.approx(served["large"], rel=0.1)
    assert served["heavy"] == pytest.approx(3 * served["small"], rel=0.1)


async def test_idling_earns_no_credit() -> None:
    queue = FairQueue(1, max_waiting=100)
    order: list[str] = []
    hold = asyncio.Event()

    async def ask(tenant: str) -> None:
        async with queue.turn(tenant, 100):
            order.append(tenant)
            await hold.wait()
            await asyncio.sleep(0)

    hold.set()
    for _ in range(50):  # one tenant works while the other is away
        await ask("busy")
    hold.clear()
    jobs = [asyncio.create_task(ask("busy")) for _ in range(6)]
    await asyncio.sleep(0)
    jobs += [asyncio.create_task(ask("back")) for _ in range(6)]
    await asyncio.sleep(0)
    order.clear()
    hold.set()
    await asyncio.gather(*jobs)
    # Without the lift all six of `back` would come first.
    assert order[:6].count("busy") in (2, 3)


async def test_a_flood_cannot_fill_the_queue_for_others() -> None:
    queue = FairQueue(1, max_waiting=10)
    release = asyncio.Event()
    answered: list[str] = []

    async def ask(tenant: str) -> None:
        async with queue.turn(tenant, 10):
            await release.wait()
            answered.append(tenant)

    noisy = [asyncio.create_task(ask("noisy")) for _ in range(11)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="10 requests are waiting") as caught:
        await ask("noisy")
    assert caught.value.retry_after == 1
    quiet = asyncio.create_task(ask("quiet"))
    await asyncio.sleep(0)
    release.set()
    results = await asyncio.gather(*noisy, quiet, return_exceptions=True)
    assert [type(result) for result in results].count(Unavailable) == 1
    assert isinstance(results[10], Unavailable)  # the newest of the longest queue
    assert results[11] is None
    assert answered[1] == "quiet"
    assert (queue.running, queue.waiting) == (0, 0)


async def test_a_wait_is_bounded() -> None:
    queue = FairQueue(1, max_wait=0.05)
    async with queue.turn("a", 10):
        with pytest.raises(Unavailable, match=r"no turn at the engine within 0\.05 s"):
            async with queue.turn("b", 10):
                raise AssertionError("served beyond the slots")
    async with queue.turn("b", 10):
        assert queue.running == 1
    assert (queue.running, queue.waiting) == (0, 0)


async def test_a_waiter_cancelled_in_the_moment_of_its_turn_passes_it_on() -> None:
    queue = FairQueue(1)

    async def ask(tenant: str) -> str:
        async with queue.turn(tenant, 10):
            return tenant

    async with queue.turn("a", 10):
        leaving = asyncio.create_task(ask("b"))
        staying = asyncio.create_task(ask("c"))
        await asyncio.sleep(0)
    leaving.cancel()  # `b` has the slot by now and has not run yet
    assert await staying == "c"
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (queue.running, queue.waiting) == (0, 0)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), slots=st.integers(1, 4))
def test_whatever_is_cancelled_no_slot_is_lost(seed: int, slots: int) -> None:
    async def main() -> None:
        rng = random.Random(seed)
        queue = FairQueue(slots, max_waiting=12, max_wait=0.5)
        at_once = 0

        async def ask(tenant: str) -> None:
            nonlocal at_once
            async with queue.turn(tenant, rng.randint(1, 50)) as turn:
                at_once += 1
                assert at_once <= slots
                try:
                    await asyncio.sleep(rng.random() * 0.3)
                finally:
                    at_once -= 1
                turn.settle(rng.randint(0, 80))

        jobs = []
        for _ in range(40):
            jobs.append(asyncio.create_task(ask(rng.choice("abc"))))
            if rng.random() < 0.5:
                rng.choice(jobs).cancel()
            if rng.random() < 0.5:
                await asyncio.sleep(rng.random() * 0.1)
        results = await asyncio.gather(*jobs, return_exceptions=True)
        failures = (type(None), asyncio.CancelledError, Unavailable)
        assert [r for r in results if not isinstance(r, failures)] == []
        assert (queue.running, queue.waiting) == (0, 0)
        async with asyncio.timeout(0.1), queue.turn("d", 1):  # and it still serves
            pass

    simulate(main)


def test_served_tokens_of_backlogged_tenants_stay_together() -> None:
    """The paper's bound over every stretch in which both tenants wait: twice what slots hold."""

    async def main() -> list[int]:
        queue = FairQueue(4)
        ahead = 0  # tokens that `a` was served more than `b`
        stretch: list[int] = []
        widths: list[int] = []
        rng = random.Random(3)

        async def client(tenant: str) -> None:
            nonlocal ahead
            for _ in range(200):
                tokens = rng.choice([5, 20, 100])
                async with queue.turn(tenant, tokens):
                    ahead += tokens if tenant == "a" else -tokens
                    if min(queue.depth("a"), queue.depth("b")) == 0:
                        stretch.clear()
                    stretch.append(ahead)
                    widths.append(max(stretch) - min(stretch))
                    await asyncio.sleep(tokens * SECONDS_PER_TOKEN)

        await asyncio.gather(*(client(tenant) for tenant in "ab" for _ in range(8)))
        return widths

    widths = simulate(main)
    assert isinstance(widths, list)
    assert len(widths) == 3200
    assert max(widths) <= 2 * 4 * 100
