"""The shared ledger under a clock that stands still: every grant worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import Connection

from adapterworks.gateway.admission.ledger import Draw, Grant, Hold, Ledger
from adapterworks.gateway.metering.event import UsageEvent
from adapterworks.gateway.metering.usage import insert_events
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.registry.index.database import Database


class Clock:
    """Seconds since the epoch, moved by the test."""

    now = 1000.0


class Timed(Ledger):
    """A ledger whose database has that clock."""

    def __init__(self, database: Database, holder: str, clock: Clock) -> None:
        super().__init__(database, holder)
        self._clock = clock

    def _now(self, connection: Connection) -> float:
        return self._clock.now


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Database]:
    """An empty index with the gateway's tables; what both databases do alike is seen on one."""
    database = Database(f"sqlite:///{tmp_path / 'index.db'}")
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(index: Database, clock: Clock) -> Timed:
    return Timed(index, "me", clock)


def one(ledger: Ledger, operation: Draw | Hold) -> Grant:
    """The one grant of one operation."""
    (grant,) = ledger.apply([operation])
    return grant


def draw(need: int, want: int, debt: int = 0, per_minute: int = 60, tenant: str = "t") -> Draw:
    return Draw(tenant, "tokens", per_minute, need, want, debt)


def test_a_bucket_refills_by_its_rate(ledger: Timed, clock: Clock) -> None:
    """60 a minute is one a second."""
    assert one(ledger, draw(1, 40)) == Grant(40, 20.0, 0.0)
    assert one(ledger, draw(30, 30)) == Grant(0, 20.0, 10.0)
    clock.now = 1009.0
    assert one(ledger, draw(30, 30)) == Grant(0, 29.0, 1.0)
    clock.now = 1010.0
    assert one(ledger, draw(30, 30)) == Grant(30, 0.0, 0.0)
    assert one(ledger, draw(1, 1)) == Grant(0, 0.0, 1.0)
    clock.now = 9999.0  # never more than the limit
    assert one(ledger, draw(1, 100)) == Grant(60, 0.0, 0.0)


def test_less_than_wanted_is_given_but_not_less_than_needed(ledger: Timed) -> None:
    assert one(ledger, draw(1, 50)) == Grant(50, 10.0, 0.0)
    assert one(ledger, draw(10, 20)) == Grant(10, 0.0, 0.0)
    assert one(ledger, draw(0, 0)) == Grant(0, 0.0, 0.0)


def test_debt_is_paid_before_anything_is_given(ledger: Timed, clock: Clock) -> None:
    """120 a minute is one each half second: 180 of debt leave 60 to come, 61 to the next unit."""
    assert one(ledger, draw(0, 0, debt=180, per_minute=120)) == Grant(0, -60.0, 0.0)
    assert one(ledger, draw(1, 1, per_minute=120)) == Grant(0, -60.0, 30.5)
    clock.now = 1030.5
    assert one(ledger, draw(1, 9, per_minute=120)) == Grant(1, 0.0, 0.0)


def test_what_is_given_back_is_there_again_and_never_more_than_the_limit(ledger: Timed) -> None:
    assert one(ledger, draw(1, 60)) == Grant(60, 0.0, 0.0)
    assert one(ledger, draw(1, 60, debt=-25)) == Grant(25, 0.0, 0.0)
    assert one(ledger, draw(0, 0, debt=-1000)) == Grant(0, 60.0, 0.0)
    assert one(ledger, draw(1, 999)) == Grant(60, 0.0, 0.0)


def test_a_limit_that_is_doubled_doubles_what_is_left(ledger: Timed) -> None:
    """30 of 60 used are full again in 30 s, which are 60 of 120."""
    assert one(ledger, draw(1, 30)) == Grant(30, 30.0, 0.0)
    assert one(ledger, draw(0, 0, per_minute=120)) == Grant(0, 60.0, 0.0)


def test_rounding_is_not_a_missing_unit_and_half_a_unit_is_none(
    ledger: Timed, clock: Clock
) -> None:
    """7 a minute: one in 60/7 s, which no float holds."""
    assert one(ledger, draw(7, 7, per_minute=7)).granted == 7
    clock.now += 60 / 7
    assert one(ledger, draw(1, 1, per_minute=7)).granted == 1
    clock.now += 60 / 7 * 0.99
    refused = one(ledger, draw(1, 1, per_minute=7))
    assert refused.granted == 0
    assert refused.wait == pytest.approx(60 / 7 * 0.01, rel=1e-3)


def test_tenants_and_kinds_have_buckets_of_their_own(ledger: Timed) -> None:
    requests = Draw("t", "requests", 60, 1, 60)
    grants = ledger.apply([draw(1, 60), requests, draw(1, 60, tenant="u"), draw(1, 60)])
    assert [grant.granted for grant in grants] == [60, 60, 60, 0]


def hold(used: int, need: int = 0, want: int = 0, limit: int = 4) -> Hold:
    return Hold("t", limit, used, need, want)


def test_slots_are_held_renewed_and_free_when_their_gateway_is_dead(
    index: Database, ledger: Timed, clock: Clock
) -> None:
    other = Timed(index, "other", clock)
    assert one(ledger, hold(0, 1, 4)) == Grant(4, 0.0, 0.0)
    assert one(other, hold(0, 1, 4)) == Grant(0, 0.0, 0.0)
    assert one(ledger, hold(1)) == Grant(0, 3.0, 0.0)  # three are given back
    assert one(other, hold(0, 1, 2)) == Grant(2, 1.0, 0.0)
    assert one(ledger, hold(1, 2, 3)) == Grant(0, 1.0, 0.0)  # less than it needs
    clock.now = 1010.0
    assert one(ledger, hold(1)) == Grant(0, 1.0, 0.0)  # kept until 1025
    clock.now = 1014.9
    assert one(ledger, hold(1)).left == 1.0
    clock.now = 1015.0  # 15 s after the other was heard of last
    assert one(ledger, hold(1, 1, 9)) == Grant(3, 0.0, 0.0)
    clock.now = 1029.9
    assert one(other, hold(0, 1, 1)).granted == 0
    assert one(ledger, hold(0)) == Grant(0, 4.0, 0.0)  # lets go of everything
    assert one(other, hold(0, 1, 4)).granted == 4


def test_a_limit_that_is_lowered_takes_no_slot_away_that_is_in_use(
    index: Database, ledger: Timed, clock: Clock
) -> None:
    other = Timed(index, "other", clock)
    assert one(ledger, hold(0, 1, 3)).granted == 3
    assert one(ledger, hold(3, 1, 1, limit=2)) == Grant(0, 0.0, 0.0)
    assert one(other, hold(0, 1, 4)) == Grant(1, 0.0, 0.0)


def test_what_was_spent_is_summed_from_a_day_on(index: Database, ledger: Timed) -> None:
    noon = 1_795_521_600.0  # 2026-11-24T12:00:00Z
    insert_events(
        index,
        [
            UsageEvent("a", "t", "d", "m@1", 100, 20, 200, started=noon),
            UsageEvent("b", "t", "d", "m@2", 3, 4, 200, started=noon + 86400),
            UsageEvent("c", "u", "d", "m@1", 5000, 0, 200, started=noon),
        ],
    )
    assert ledger.spent_since("t", "2026-11-24") == 127
    assert ledger.spent_since("t", "2026-11-25") == 7
    assert ledger.spent_since("t", "2026-11-26") == 0
    assert ledger.spent_since("nobody", "2026-11-01") == 0


def test_a_clock_that_is_set_back_takes_what_was_timed_by_it_along(
    index: Database, ledger: Timed, clock: Clock
) -> None:
    dead = Timed(index, "dead", clock)
    clock.now = 5000.0
    assert one(ledger, draw(1, 1)) == Grant(1, 59.0, 0.0)
    assert one(ledger, draw(0, 0, debt=180, per_minute=120, tenant="owes")).left == -60.0
    assert one(dead, hold(0, 1, 4)).granted == 4
    clock.now = 1400.0  # an hour
    assert one(ledger, draw(1, 1)) == Grant(1, 58.0, 0.0)
    assert one(ledger, draw(1, 1, per_minute=120, tenant="owes")) == Grant(0, -60.0, 30.5)
    assert one(ledger, hold(0, 1, 4)).granted == 0
    clock.now = 1416.0  # nobody has heard of the other one for 15 s
    assert one(ledger, hold(0, 1, 4)).granted == 4
    assert one(ledger, draw(0, 0)).left == 60.0
    clock.now = 1415.5  # less than a second is no jump: half of it is waited for
    assert one(ledger, draw(1, 60)) == Grant(59, 0.5, 0.0)
