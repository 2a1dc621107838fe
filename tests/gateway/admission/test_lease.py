"""Leases and the month's budget on a scripted ledger and a clock that the test moves."""

from __future__ import annotations

import asyncio
import gc
import math
from collections import deque
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from adapterworks.gateway.admission import lease as leases
from adapterworks.gateway.admission import month as months
from adapterworks.gateway.admission.lease import RateLease, SlotLease
from adapterworks.gateway.admission.ledger import Draw, Grant, Hold
from adapterworks.gateway.admission.month import Month
from adapterworks.gateway.admission.shared import SharedLedger
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.manifests.errors import Unavailable


class Scripted:
    """Answers operations as it was told to, and keeps them."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.answers: deque[Grant | Exception] = deque()
        self.spent = 0
        self.readings = 0

    def expect(self, *answers: Grant | Exception) -> None:
        self.answers.extend(answers)

    async def apply(self, operation: Draw | Hold) -> Grant:
        self.asked.append(operation)
        await asyncio.sleep(0)
        answer = self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def spent_since(self, tenant: str, first_day: str) -> int:
        assert (tenant, first_day) == ("t", f"{months._this_month()}-01")
        self.readings += 1
        await asyncio.sleep(0)
        return self.spent


class Clock:
    """Monotonic seconds."""

    def __init__(self) -> None:
        self.now = 500.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (leases, months):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def ledger() -> Scripted:
    return Scripted()


@pytest.fixture
def rate(ledger: Scripted, clock: Clock) -> RateLease:
    return RateLease(cast(SharedLedger, ledger), "t", "requests")


@pytest.fixture
def slot(ledger: Scripted, clock: Clock) -> SlotLease:
    return SlotLease(cast(SharedLedger, ledger), "t")


def draw(per_minute: int, need: int, want: int, debt: int = 0) -> Draw:
    return Draw("t", "requests", per_minute, need, want, debt)


async def test_a_twentieth_of_the_minute_is_taken_at_once(
    rate: RateLease, ledger: Scripted
) -> None:
    ledger.expect(Grant(5, 95.0, 0.0), Grant(5, 90.0, 0.0))
    assert [await rate.take(1, 100) for _ in range(6)] == [0.0] * 6
    assert ledger.asked == [draw(100, 1, 5), draw(100, 1, 5)]
    assert rate.units == 4


async def test_what_is_needed_is_asked_for_beyond_what_is_there(
    rate: RateLease, ledger: Scripted
) -> None:
    ledger.expect(Grant(2, 28.0, 0.0), Grant(6, 22.0, 0.0), Grant(30, 0.0, 0.0))
    assert await rate.take(1, 30) == 0.0  # a twentieth of 30, rounded up
    assert await rate.take(7, 30) == 0.0  # one is left of the two
    assert rate.units == 0
    assert await rate.take(30, 30) == 0.0
    assert ledger.asked == [draw(30, 1, 2), draw(30, 6, 6), draw(30, 30, 30)]


async def test_more_than_a_minute_has_never_comes(rate: RateLease, ledger: Scripted) -> None:
    assert await rate.take(31, 30) == math.inf
    assert ledger.asked == []


async def test_a_refusal_is_remembered_for_as_long_as_it_lasts(
    rate: RateLease, ledger: Scripted, clock: Clock
) -> None:
    ledger.expect(Grant(0, 4.0, 12.5))
    assert await rate.take(6, 60) == 12.5
    clock.now += 10.0
    assert await rate.take(6, 60) == 2.5
    assert await rate.take(9, 60) == 2.5
    assert len(ledger.asked) == 1
    ledger.expect(Grant(5, 9.0, 0.0))
    assert await rate.take(5, 60) == 0.0  # less may be there
    clock.now += 2.5
    ledger.expect(Grant(0, 5.9, 0.001))
    assert await rate.take(6, 60) == 0.05  # whoever hammers comes 20 times a second at most
    clock.now += 0.04
    assert await rate.take(6, 60) == pytest.approx(0.01)
    assert len(ledger.asked) == 3


async def test_debt_is_told_with_the_next_draw_and_not_lost_when_that_fails(
    rate: RateLease, ledger: Scripted
) -> None:
    ledger.expect(Grant(5, 95.0, 0.0))
    assert await rate.take(1, 100) == 0.0
    rate.give(-10)  # four are left: six were used beyond
    assert rate.units == 0
    ledger.expect(Unavailable("away"), Grant(5, 84.0, 0.0))
    with pytest.raises(Unavailable):
        await rate.take(1, 100)
    assert await rate.take(1, 100) == 0.0
    assert ledger.asked[1:] == [draw(100, 1, 5, debt=6)] * 2
    rate.give(-6)  # two more than there are
    rate.give(1)
    assert rate.units == 0
    rate.give(3)
    assert rate.units == 2


async def test_what_is_not_used_is_given_back(rate: RateLease, ledger: Scripted) -> None:
    await rate.flush()
    assert ledger.asked == []
    ledger.expect(Grant(5, 95.0, 0.0), Grant(0, 99.0, 0.0))
    await rate.take(1, 100)
    await rate.flush()
    assert ledger.asked[1] == draw(100, 0, 0, debt=-4)
    assert rate.units == 0
    await rate.flush()
    assert len(ledger.asked) == 2
    rate.give(-3)
    ledger.expect(Grant(0, 96.0, 0.0))
    await rate.flush()
    assert ledger.asked[2] == draw(100, 0, 0, debt=3)


async def test_remaining_and_reset_are_what_was_seen_and_what_came_since(
    rate: RateLease, ledger: Scripted, clock: Clock
) -> None:
    rate.per_minute = 120
    assert (rate.remaining, rate.reset) == (120, 0.0)
    ledger.expect(Grant(6, 60.0, 0.0))
    await rate.take(2, 120)
    assert rate.remaining == 60 + 4
    clock.now += 5.0  # two a second
    assert rate.remaining == 70 + 4
    assert rate.reset == pytest.approx((120 - 74) / 2)
    rate.give(-14)
    assert rate.remaining == 70 - 10
    clock.now += 600.0
    assert rate.remaining == 120 - 10
    rate.give(-1000)
    assert rate.remaining == 0
    assert rate.reset == 60.0


async def test_a_lease_is_idle_after_two_seconds(
    rate: RateLease, slot: SlotLease, ledger: Scripted, clock: Clock
) -> None:
    ledger.expect(Grant(5, 95.0, 0.0), Grant(1, 7.0, 0.0))
    for lease in (rate, slot):
        await (lease.take(1, 100) if isinstance(lease, RateLease) else lease.take(8))
        assert not lease.idle(clock.now + 2.0)
        assert lease.idle(clock.now + 2.01)


async def test_an_eighth_of_the_slots_is_taken_at_once(slot: SlotLease, ledger: Scripted) -> None:
    ledger.expect(Grant(2, 14.0, 0.0), Grant(2, 12.0, 0.0))
    assert [await slot.take(16) for _ in range(3)] == [True] * 3
    assert ledger.asked == [Hold("t", 16, 0, 1, 2), Hold("t", 16, 2, 1, 2)]
    assert (slot.held, slot.used) == (4, 3)
    slot.give()
    assert slot.used == 2
    assert [await slot.take(16) for _ in range(2)] == [True] * 2
    assert len(ledger.asked) == 2


async def test_a_refused_slot_is_not_asked_for_again_at_once(
    slot: SlotLease, ledger: Scripted, clock: Clock
) -> None:
    ledger.expect(Grant(0, 0.0, 0.0), Grant(1, 0.0, 0.0))
    assert not await slot.take(3)
    clock.now += 0.049
    assert not await slot.take(3)
    assert ledger.asked == [Hold("t", 3, 0, 1, 1)]  # an eighth of 3 is one at least
    clock.now += 0.002
    assert await slot.take(3)


async def test_whoever_holds_all_asks_for_no_more(slot: SlotLease, ledger: Scripted) -> None:
    ledger.expect(Grant(2, 0.0, 0.0))
    assert [await slot.take(2) for _ in range(3)] == [True, True, False]
    assert len(ledger.asked) == 1


async def test_a_small_request_does_not_pass_one_that_waits(
    rate: RateLease, ledger: Scripted
) -> None:
    """Else a stream of small ones could keep a large one waiting for ever."""
    ledger.expect(Grant(5, 95.0, 0.0))
    first = asyncio.create_task(rate.take(5, 100))
    await asyncio.sleep(0)
    rate.units = 1  # one came back meanwhile
    second = asyncio.create_task(rate.take(1, 100))
    await asyncio.sleep(0)
    assert not second.done()
    assert await asyncio.gather(first, second) == [0.0, 0.0]


async def test_a_limit_that_is_lowered_counts_at_once(slot: SlotLease, ledger: Scripted) -> None:
    ledger.expect(Grant(4, 0.0, 0.0))
    assert await slot.take(32)
    assert await slot.take(2)
    assert not await slot.take(2)
    assert len(ledger.asked) == 1


async def test_slots_are_renewed_and_let_go(slot: SlotLease, ledger: Scripted) -> None:
    await slot.renew()
    await slot.flush()
    assert ledger.asked == []
    ledger.expect(*[Grant(2, 14.0, 0.0)] * 4)
    await slot.take(16)
    await slot.renew()
    assert ledger.asked[1] == Hold("t", 16, 2)
    await slot.flush()
    assert ledger.asked[2] == Hold("t", 16, 1)
    assert slot.held == 1
    slot.give()
    await slot.flush()
    assert ledger.asked[3] == Hold("t", 16, 0)
    assert slot.held == 0


@pytest.fixture
def month(ledger: Scripted, clock: Clock) -> Month:
    return Month(cast(SharedLedger, ledger), "t", Supervisor())


async def test_a_budget_is_spent_reserved_and_settled(month: Month, ledger: Scripted) -> None:
    ledger.spent = 600
    assert await month.take(400, 1000)
    assert not await month.take(1, 1000)
    month.settle(400, 150)
    assert not await month.take(251, 1000)
    assert await month.take(250, 1000)
    assert ledger.readings == 1
    month.settle(250, 0)
    assert await month.take(250, 1000)
    month.settle(250, 50)  # 600 read, 150 and 50 since
    assert not await month.take(201, 1000)
    assert await month.take(200, 1000)


async def test_an_answer_without_a_bound_reserves_what_is_left(
    month: Month, ledger: Scripted, clock: Clock
) -> None:
    ledger.spent = 20
    assert await month.take(131_072, 100_000, least=20) == 99_980
    assert await month.take(131_072, 100_000, least=20) is None
    assert not month.lacks(20, 100_000)  # the first one may give back nearly all of it
    month.settle(99_980, 30)
    assert await month.take(131_072, 100_000, least=20) == 99_950
    month.settle(99_950, 99_945)
    assert await month.take(131_072, 100_000, least=20) is None
    assert not month.lacks(20, 100_000)  # not counted yet
    ledger.spent = 99_995
    clock.now += 5.1
    assert await month.take(131_072, 100_000, least=20) is None
    assert month.lacks(20, 100_000)
    assert not month.lacks(5, 100_000)


async def test_the_total_is_read_beside_requests_and_waited_for_when_it_is_stale(
    month: Month, ledger: Scripted, clock: Clock
) -> None:
    assert await month.take(1, 1000)
    ledger.spent = 990
    clock.now += 1.0
    assert await month.take(100, 1000)
    await asyncio.sleep(0.01)
    assert ledger.readings == 1  # a second old is fresh
    clock.now += 0.1
    # Read beside them, once: these still go by the old total.
    assert await month.take(50, 1000)
    assert await month.take(50, 1000)
    await asyncio.sleep(0.01)
    assert ledger.readings == 2
    assert not await month.take(100, 1000)
    ledger.spent = 0
    clock.now += 5.0
    assert not await month.take(800, 1000)  # 201 are reserved; five seconds are not stale
    await asyncio.sleep(0.01)
    assert ledger.readings == 3
    ledger.spent = 500
    clock.now += 5.1
    assert not await month.take(300, 1000)  # waits: 500 + 201 + 300
    assert await month.take(299, 1000)
    assert ledger.readings == 4


async def test_a_reading_that_fails_beside_requests_troubles_nobody(
    month: Month, ledger: Scripted, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))
    assert await month.take(1, 1000)
    failing = asyncio.get_running_loop().create_future()
    failing.set_exception(Unavailable("away"))
    never = asyncio.get_running_loop().create_future()
    for reading in (failing, never):
        monkeypatch.setattr(ledger, "spent_since", lambda *_, r=reading: r)
        clock.now += 1.1
        assert await month.take(1, 1000)  # read beside it
        await asyncio.sleep(0.01)
        assert month._reading is not None
        if reading is never:
            month._reading.cancel()
            await asyncio.sleep(0.01)
        month._reading = None
    del failing, reading
    gc.collect()
    assert troubles == []


async def test_a_reading_that_fails_as_nobody_expects_is_seen(
    ledger: Scripted, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    month = Month(cast(SharedLedger, ledger), "t", Supervisor(count=seen.append))
    assert await month.take(1, 1000)
    for error, counted in ((Unavailable("away"), []), (KeyError("tokens"), ["month's tokens"])):
        failing = asyncio.get_running_loop().create_future()
        failing.set_exception(error)
        monkeypatch.setattr(ledger, "spent_since", lambda *_, reading=failing: reading)
        clock.now += 1.1
        assert await month.take(1, 1000)  # read beside it
        await asyncio.sleep(0.01)
        assert seen == counted


async def test_tokens_count_until_the_total_must_have_them(
    month: Month, ledger: Scripted, clock: Clock
) -> None:
    """An event is in the index two seconds after its answer; until then it may count twice."""
    assert await month.take(100, 1000)
    month.settle(100, 70)
    ledger.spent = 70
    clock.now += 2.0
    await month.take(0, 1000)
    await asyncio.sleep(0.01)
    assert not await month.take(861, 1000)  # 70 + 70 + 861
    assert await month.take(0, 1000) == 0
    clock.now += 1.1
    await month.take(0, 1000)
    await asyncio.sleep(0.01)
    assert not await month.take(931, 1000)
    assert await month.take(930, 1000)


async def test_tokens_count_for_as_long_as_the_meter_cannot_write(
    ledger: Scripted, clock: Clock
) -> None:
    """The total is read all the same: the budget would have no end until somebody mends the meter.

    Of a second's answers no more than ten numbers are kept, however long that takes.
    """
    counted = clock.now
    month = Month(cast(SharedLedger, ledger), "t", Supervisor(), lambda: counted)
    for _ in range(100):
        assert await month.take(5, 1000)
        month.settle(5, 5)
        clock.now += 0.01
    assert len(month._settled) <= 11
    clock.now += 3600.0
    await month.take(0, 1000)  # waits for the reading
    assert await month.take(501, 1000) is None
    assert not month.lacks(501, 1000)
    counted, ledger.spent = clock.now - 3600.0 + 0.6, 500  # it could, an hour ago
    clock.now += 1.1
    await month.take(0, 1000)
    await asyncio.sleep(0.01)
    assert await month.take(501, 1000) is None
    assert await month.take(500, 1000) == 500
    month.settle(500, 0)


async def test_a_new_month_begins_at_once(
    month: Month, ledger: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(months, "_this_month", lambda: "2026-11")
    ledger.spent = 1000
    assert not await month.take(1, 1000)
    ledger.spent = 0
    monkeypatch.setattr(months, "_this_month", lambda: "2026-12")
    assert await month.take(1000, 1000)


@pytest.mark.parametrize(
    ("now", "seconds"),
    [
        (datetime(2026, 11, 30, 23, 59, tzinfo=UTC), 60.0),
        (datetime(2026, 12, 31, 23, 0, tzinfo=UTC), 3600.0),
        (datetime(2027, 2, 28, 12, 0, tzinfo=UTC), 43200.0),
    ],
)
def test_a_month_ends_with_its_last_second(
    month: Month, now: datetime, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fixed(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return now

    monkeypatch.setattr(months, "datetime", Fixed)
    assert month.seconds_left() == seconds
    assert months._this_month() == f"{now:%Y-%m}"


async def test_several_slots_are_taken_together_or_not_at_all(
    slot: SlotLease, ledger: Scripted, clock: Clock
) -> None:
    ledger.expect(Grant(3, 13.0, 0.0), Grant(0, 1.0, 0.0), Grant(4, 9.0, 0.0))
    assert await slot.take(16, 3)
    assert not await slot.take(16, 4)
    assert slot.used == 3
    # Fewer may be there although so many were not.
    assert ledger.asked == [Hold("t", 16, 0, 3, 3), Hold("t", 16, 3, 4, 4)]
    clock.now += 0.06
    assert await slot.take(16, 4)
    assert (slot.held, slot.used) == (7, 7)
    slot.give(4)
    assert slot.used == 3
