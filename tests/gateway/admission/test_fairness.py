"""Fairness: a flood does not move a quiet tenant, weights are shares, nothing is lost on cancel."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections import defaultdict
from collections.abc import Callable
from contextlib import AsyncExitStack

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
    assert results[10].retry_after == 1
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
    async with asyncio.timeout(5):
        assert await staying == "c"
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert (queue.running, queue.waiting) == (0, 0)


async def test_tenants_that_were_here_once_are_not_looked_at_again() -> None:
    """An arrival costs what is at work, not what ever was; and what each was served stays known."""
    queue = FairQueue(2)
    for number in range(1000):
        async with queue.turn(f"t{number}", number):
            pass
    assert len(queue._at_work()) == 0

    async def ask() -> None:
        async with queue.turn("t2", 1):
            pass

    async with queue.turn("t0", 5), queue.turn("t1", 5):
        asking = asyncio.create_task(ask())
        await asyncio.sleep(0)
        assert list(queue._at_work()) == ["t0", "t1", "t2"]
        assert len(queue._here) == 3
    await asking
    assert queue._tenants["t999"].counter >= 999.0


async def test_a_turn_that_was_not_taken_costs_nothing_whatever_the_weight() -> None:
    queue = FairQueue(1)

    async def ask() -> None:
        async with queue.turn("b", 40, weight=4.0):
            raise AssertionError("it has left")

    async with queue.turn("a", 10):
        leaving = asyncio.create_task(ask())
        await asyncio.sleep(0)
        before = queue._tenants["b"].counter
    assert queue._tenants["b"].counter == before + 10.0
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert queue._tenants["b"].counter == before


async def order_of(queue: FairQueue, asks: list[tuple[str, int, float]]) -> list[str]:
    """Who is served in which order when all ask while another's request runs."""
    order: list[str] = []

    async def ask(tenant: str, tokens: int, weight: float) -> None:
        async with queue.turn(tenant, tokens, weight=weight):
            order.append(tenant)

    async with queue.turn("first", 0):
        jobs = [asyncio.create_task(ask(*one)) for one in asks]
        await asyncio.sleep(0)
        assert queue.waiting == len(asks)
    async with asyncio.timeout(5):
        await asyncio.gather(*jobs)
    return order


async def test_the_smallest_counter_is_next_tokens_by_weight() -> None:
    """One slot. `a` costs 10 a request: 10, 20, 30. `b` costs 45 at weight 3: 15, 30.

    Counters when a slot comes free: a 0, b 0 → b (fewer wait); 0, 15 → a; 10, 15 → a; 20, 15 → b;
    20, 30 → a. In which order they came does not matter.
    """
    a, b = ("a", 10, 1.0), ("b", 45, 3.0)
    assert await order_of(FairQueue(1), [a, b, a, b, a]) == ["b", "a", "a", "b", "a"]
    assert await order_of(FairQueue(1), [b, b, a, a, a]) == ["b", "a", "a", "b", "a"]


async def test_of_equals_the_one_with_less_at_work_and_then_less_to_come_is_next() -> None:
    a, b = ("a", 0, 1.0), ("b", 0, 1.0)
    assert await order_of(FairQueue(1), [a, a, b]) == ["b", "a", "a"]
    queue = FairQueue(2)
    async with queue.turn("a", 0):
        assert await order_of(queue, [a, b, b]) == ["b", "b", "a"]


async def test_a_charge_moves_the_counter_and_is_settled_once() -> None:
    """Expected 10 each; `a` turns out to cost 100, so `b` is served until it is past that."""
    queue = FairQueue(1)
    async with queue.turn("a", 10) as turn:
        turn.settle(100)
        turn.settle(500)  # only the first counts
    b = ("b", 40, 1.0)
    # `first` has no tokens, so that `a` at 100 stays ahead: b 0, 40, 80, and then a.
    queue._last = None
    assert await order_of(queue, [("a", 10, 1.0), b, b, b, b]) == ["b", "b", "b", "a", "b"]


async def test_whoever_comes_to_an_idle_queue_starts_where_it_was_left() -> None:
    """`b` is new after `a` was served 100: both wait at 101 then, and neither is owed anything."""
    queue = FairQueue(1)
    async with queue.turn("a", 100):
        pass
    a, b = ("a", 10, 1.0), ("b", 10, 1.0)
    order: list[str] = []

    async def ask(tenant: str, tokens: int, weight: float) -> None:
        async with queue.turn(tenant, tokens, weight=weight):
            order.append(tenant)

    async with queue.turn("b", 1):  # at 101 now
        jobs = [asyncio.create_task(ask(*one)) for one in (b, a, b, a)]
        await asyncio.sleep(0)
    await asyncio.gather(*jobs)
    assert order == ["a", "b", "a", "b"]


async def test_a_lighter_tenant_must_not_fill_the_queue() -> None:
    """Three wait at most: two of weight 1, one of weight 4. The former's queue is longest."""
    queue = FairQueue(1, max_waiting=3)

    async def ask(tenant: str, weight: float) -> str:
        async with queue.turn(tenant, 1, weight=weight):
            return tenant

    async with queue.turn("x", 1):
        light = [asyncio.create_task(ask("light", 1.0)) for _ in range(2)]
        heavy = [asyncio.create_task(ask("heavy", 4.0))]
        await asyncio.sleep(0)
        heavy += [asyncio.create_task(ask("heavy", 4.0)) for _ in range(2)]
        await asyncio.sleep(0)
        # The second heavy one took the place of the newest light one, the third of the other:
        # (1 + 1) / 4 is less than 2 / 1, and (2 + 1) / 4 less than 1 / 1.
        assert (queue.depth("light"), queue.depth("heavy"), queue.depth("nobody")) == (0, 3, 0)
        # (3 + 1) / 4 is not more than 3 / 4 of its own: the newcomer is the one to go.
        with pytest.raises(Unavailable, match="3 requests are waiting for the engine") as caught:
            await ask("heavy", 4.0)
        assert caught.value.retry_after == 1
    results = await asyncio.gather(*light, *heavy, return_exceptions=True)
    assert [isinstance(result, Unavailable) for result in results] == [True, True, *[False] * 3]


async def test_whoever_gives_up_is_told_when_to_come_back_and_costs_nothing() -> None:
    queue = FairQueue(1, max_wait=0.01)
    async with queue.turn("a", 10):
        with pytest.raises(Unavailable) as caught:
            async with queue.turn("b", 1000):
                raise AssertionError("served beyond the slots")
        assert caught.value.retry_after == 1
        assert caught.value.hint == "the engine is busy; try again in 1 s"
        assert (queue.waiting, queue.depth("b")) == (0, 0)
    assert queue._tenants["b"].counter == queue._tenants["a"].counter == 10.0


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


async def test_a_request_holds_a_slot_for_each_sequence() -> None:
    queue = FairQueue(4)
    served: list[str] = []

    async def ask(tenant: str, sequences: int, done: asyncio.Event) -> None:
        async with queue.turn(tenant, 10, sequences=sequences):
            served.append(tenant)
            await done.wait()

    done = {name: asyncio.Event() for name in "abcd"}
    jobs = [
        asyncio.create_task(ask("a", 3, done["a"])),
        asyncio.create_task(ask("b", 2, done["b"])),
    ]
    jobs.append(asyncio.create_task(ask("c", 1, done["c"])))
    await asyncio.sleep(0)
    # One slot is free, and the one that is next needs two: a smaller one does not pass it.
    assert (served, queue.running, queue.waiting) == (["a"], 3, 2)
    done["a"].set()
    await asyncio.sleep(0.01)
    assert sorted(served) == ["a", "b", "c"]
    assert queue.running == 3
    jobs.append(asyncio.create_task(ask("d", 99, done["d"])))  # more than there are: all of them
    await asyncio.sleep(0)
    assert queue.waiting == 1
    for event in done.values():
        event.set()
    await asyncio.gather(*jobs)
    assert (queue.running, queue.waiting, served[-1]) == (0, 0, "d")


async def test_whoever_waits_for_many_and_leaves_makes_way() -> None:
    queue = FairQueue(2)
    async with queue.turn("a", 10):
        large = asyncio.create_task(_hold(queue, "b", 2))
        await asyncio.sleep(0)
        small = asyncio.create_task(_hold(queue, "c", 1))
        await asyncio.sleep(0)
        assert (queue.running, queue.waiting) == (1, 2)
        large.cancel()
        async with asyncio.timeout(5):
            await small
    assert (queue.running, queue.waiting) == (0, 0)


async def _hold(queue: FairQueue, tenant: str, sequences: int) -> None:
    async with queue.turn(tenant, 10, sequences=sequences):
        pass


async def test_a_cost_that_cannot_be_reckoned_holds_nothing() -> None:
    queue = FairQueue(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with queue.turn("a", 10, weight=0.0):
                pass
    assert queue.running == 0
    async with queue.turn("a", 10):
        assert queue.running == 1


async def test_whoever_has_more_requests_at_work_waits_for_its_equal() -> None:
    """Of equal counters, 2 tokens each, the tenant with one request at work comes before two."""
    queue = FairQueue(4)
    order: list[str] = []

    async def ask(tenant: str) -> None:
        async with queue.turn(tenant, 1):
            order.append(tenant)

    async with AsyncExitStack() as held:
        last = AsyncExitStack()
        for tenant, tokens in (("two", 1), ("one", 1), ("two", 1)):
            await held.enter_async_context(queue.turn(tenant, tokens))
        await last.enter_async_context(queue.turn("other", 9))
        waiting = [asyncio.create_task(ask(tenant)) for tenant in ("two", "one")]
        await asyncio.sleep(0)
        await last.aclose()
        await asyncio.gather(*waiting)
    assert order == ["one", "two"]


async def test_a_full_queue_takes_the_newcomer_whose_queue_would_be_no_longer() -> None:
    queue = FairQueue(1, max_waiting=1)

    async def ask(tenant: str) -> str:
        async with queue.turn(tenant, 1):
            return tenant

    async with queue.turn("busy", 1):
        first = asyncio.create_task(ask("first"))
        await asyncio.sleep(0)
        newcomer = asyncio.create_task(ask("newcomer"))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="1 requests are waiting"):
            await first
    assert await newcomer == "newcomer"


def test_a_tenant_that_was_never_here_is_charged_nothing() -> None:
    queue = FairQueue(1)
    queue.charge("nobody", 5)
    assert queue.depth("nobody") == 0


async def test_what_a_request_wishes_for_changes_nothing_once_it_is_settled() -> None:
    """A counter is a float: 487 + 1e30 - 1e30 is 0, and 487 + 2**40 - 2**40 is 487."""
    queue = FairQueue(1)
    async with queue.turn("a", 500) as turn:
        turn.settle(487)
    async with queue.turn("a", 10**400) as turn:
        turn.settle(0)
    assert queue._tenants["a"].counter == 487
    async with queue.turn("b", 1):  # new, and no further ahead than `a` was left
        assert queue._tenants["b"].counter == 488


async def test_gateways_divide_an_engine_and_each_has_a_place() -> None:
    queue = FairQueue(8)
    for among, slots in ((1, 8), (2, 4), (3, 3), (8, 1), (9, 1), (2, 4)):
        queue.share(among)
        assert (queue.slots, queue.whole) == (slots, 8)


async def test_who_waits_for_more_than_is_left_gets_all_that_is_left() -> None:
    queue = FairQueue(8)
    held: list[int] = []

    async def ask() -> None:
        async with queue.turn("b", 1, sequences=8):
            held.append(queue.running)

    async with queue.turn("a", 1, sequences=8):
        waiting = asyncio.create_task(ask())
        await asyncio.sleep(0)
        queue.share(2)
        await asyncio.sleep(0)
        assert held == []
    async with asyncio.timeout(5):
        await waiting
    assert held == [4]
    assert queue.running == queue._tenants["b"].running == 0
    queue.share(1)
    async with queue.turn("c", 1, sequences=5):
        assert queue.running == 5


async def test_more_room_is_used_at_once() -> None:
    queue = FairQueue(2)
    queue.share(2)
    async with queue.turn("a", 1):
        waiting = asyncio.create_task(_enter(queue))
        await asyncio.sleep(0)
        assert not waiting.done()
        queue.share(1)
        async with asyncio.timeout(5):
            await waiting


async def _enter(queue: FairQueue) -> None:
    async with queue.turn("b", 1):
        pass


async def test_what_others_served_counts_and_is_not_passed_on() -> None:
    queue = FairQueue(1)
    async with queue.turn("a", 10, weight=2.0) as turn:
        turn.settle(30)
    assert queue.served() == {"a": 30}
    assert queue.served() == {}
    queue.served_elsewhere({"a": 100, "nobody": 5})
    assert queue._tenants["a"].counter == 15 + 50
    assert queue.served() == {}
    queue.not_told({"a": 7})
    queue.charge("a", 3)
    assert queue.served() == {"a": 10}
