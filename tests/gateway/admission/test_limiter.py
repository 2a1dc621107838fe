"""Limits: exact in one gateway, held by several together, with headers a client can act on."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from adapterworks.gateway.admission.errors import RateLimited
from adapterworks.gateway.admission.lease import SlotLease
from adapterworks.gateway.admission.ledger import Draw, Grant, Hold, Ledger
from adapterworks.gateway.admission.limiter import Limiter
from adapterworks.gateway.admission.permit import Permit, format_seconds
from adapterworks.gateway.admission.shared import SharedLedger
from adapterworks.gateway.metering.event import UsageEvent
from adapterworks.gateway.metering.usage import insert_events
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.gateway.storage.schema import slots
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.gateway.tenants.tenant import Limits, Tenant
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.index.database import Database
from tests.warm.python import warm_python

ROOT = Path(__file__).resolve().parents[3]


def tenant(name: str = "acme", **limits: int) -> Tenant:
    return Tenant(f"tn_{name}", name, ("*",), "salt", Limits(**limits))


async def admit(limiter: Limiter, who: Tenant, tokens: int = 10) -> Permit:
    return await limiter.admit(who, model="medical", estimated_tokens=tokens)


async def admitted(limiter: Limiter, who: Tenant, count: int, tokens: int = 10) -> list[Permit]:
    """The permits that `count` requests at once get."""
    jobs = [admit(limiter, who, tokens) for _ in range(count)]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    assert all(isinstance(result, Permit | RateLimited) for result in results)
    return [result for result in results if isinstance(result, Permit)]


class Refill:
    """What a bucket of `per_minute` has got back since this was made: the slack of an assertion."""

    def __init__(self, per_minute: int) -> None:
        self._rate = per_minute / 60
        self._began = time.monotonic()

    def covers(self, value: float, least: float) -> bool:
        """Whether `value` is `least`, or more by no more than the refill."""
        return least - 1 <= value <= least + (time.monotonic() - self._began) * self._rate + 1


async def test_requests_per_minute_are_exact_and_the_headers_say_so(database: Database) -> None:
    limiter = Limiter(database)
    who = tenant(rpm=30, tpm=6000)
    requests, tokens = Refill(30), Refill(6000)
    permits = await admitted(limiter, who, 50)
    assert requests.covers(len(permits), 30)
    headers = permits[-1].headers()
    assert headers["x-ratelimit-limit-requests"] == "30"
    assert requests.covers(int(headers["x-ratelimit-remaining-requests"]), 0)
    assert headers["x-ratelimit-limit-tokens"] == "6000"
    left = int(headers["x-ratelimit-remaining-tokens"])
    assert tokens.covers(left, 6000 - 10 * len(permits))
    assert headers["x-ratelimit-reset-requests"].endswith("s")
    await admitted(limiter, who, 10)  # whatever refilled meanwhile
    with pytest.raises(RateLimited, match="30 requests per minute") as caught:
        await admit(limiter, who)
    assert caught.value.code == "rate_limit_exceeded"
    assert 0 < caught.value.retry_after <= 2.1
    assert caught.value.headers["retry-after"] in ("1", "2", "3")
    assert caught.value.headers.keys() >= headers.keys()
    await asyncio.sleep(caught.value.retry_after + 0.1)
    await admit(limiter, who)
    await limiter.close()


async def test_tokens_are_corrected_to_what_the_engine_counted(database: Database) -> None:
    limiter = Limiter(database)
    who = tenant(tpm=6000)
    refill = Refill(6000)

    def remaining(permit: Permit) -> int:
        return int(permit.headers()["x-ratelimit-remaining-tokens"])

    permit = await admit(limiter, who, 5000)
    assert refill.covers(remaining(permit), 1000)
    permit.settle(100, 400)
    permit.settle(5000, 5000)  # only the first counts
    permit.release()
    permit.release()
    assert refill.covers(remaining(permit), 5500)
    dropped = await admit(limiter, who, 5000)
    dropped.release()  # nothing was generated
    assert refill.covers(remaining(permit), 5500)
    larger = await admit(limiter, who, 10)
    larger.settle(10, 11_000)  # beyond the estimate: repaid before the next
    larger.release()
    assert remaining(larger) == 0
    with pytest.raises(RateLimited, match="6000 tokens per minute") as caught:
        await admit(limiter, who, 10)
    # 11,010 - 5,500 of debt and 10 that were asked for, at 100 a second.
    assert refill.covers(-caught.value.retry_after * 100, -5520)
    with pytest.raises(InvalidInput, match="asks for 6001 tokens per minute"):
        await admit(limiter, who, 6001)
    await limiter.close()


async def test_concurrency_is_exact_and_a_released_slot_is_used_again(database: Database) -> None:
    limiter = Limiter(database)
    who = tenant(max_concurrency=5)
    permits = await admitted(limiter, who, 40)
    assert len(permits) == 5
    with pytest.raises(RateLimited, match="5 requests are in flight"):
        await admit(limiter, who)
    permits[0].release()
    permits[0].release()
    assert len(await admitted(limiter, who, 3)) == 1
    await limiter.close()


async def test_a_renewal_beside_an_admission_forgets_no_slot(database: Database) -> None:
    migrate(database)
    ledger = SharedLedger(Ledger(database, "me"), Supervisor())
    lease = SlotLease(ledger, "t")
    for _ in range(8):
        taking = asyncio.create_task(lease.take(8))
        for _ in range(3):
            await asyncio.sleep(0)  # the ledger's transaction for it is on its way now
        await lease.renew()
        assert await taking
        with database.read() as connection:
            assert connection.scalar(sa.select(slots.c.held)) == lease.held >= lease.used
    await lease.flush()
    for _ in range(8):
        lease.give()
    await lease.flush()
    with database.read() as connection:
        assert connection.scalar(sa.select(slots.c.held)) is None


async def test_a_refused_request_takes_nothing(database: Database) -> None:
    limiter = Limiter(database)
    who, requests = tenant(rpm=60, tpm=1000, max_concurrency=4), Refill(60)
    first = await admit(limiter, who, 900)
    for _ in range(20):
        with pytest.raises(RateLimited):
            await admit(limiter, who, 900)
    first.release()
    permits = await admitted(limiter, who, 4, tokens=100)
    assert len(permits) == 4
    assert requests.covers(int(permits[-1].headers()["x-ratelimit-remaining-requests"]), 55)
    await limiter.close()


async def test_a_cancelled_admission_leaves_nothing_behind(database: Database) -> None:
    limiter = Limiter(database)
    who, cancelled = tenant(rpm=60, max_concurrency=3), 0
    for _ in range(10):
        job = asyncio.create_task(admit(limiter, who))
        await asyncio.sleep(0)
        job.cancel()
        try:
            (await job).release()  # what was there at once is no longer waited for
        except asyncio.CancelledError:
            cancelled += 1
    assert cancelled
    permits = []
    async with asyncio.timeout(60):
        while len(permits) < 3:  # the ledger may still be giving to those who left
            permits += await admitted(limiter, who, 10)
    assert len(permits) == 3
    assert await admitted(limiter, who, 10) == []
    await limiter.close()


async def test_the_hot_path_runs_no_sql(database: Database) -> None:
    limiter = Limiter(database)
    who = tenant(rpm=6000, tpm=10_000_000, max_concurrency=64, monthly_tokens=10**9)
    (await admit(limiter, who)).release()
    statements: list[str] = []
    event.listen(
        database.engine, "before_cursor_execute", lambda *args: statements.append(str(args[2]))
    )
    for _ in range(250):
        permit = await admit(limiter, who)
        permit.settle(5, 5)
        permit.release()
    assert statements == []
    await limiter.close()


async def test_tenants_that_were_here_once_are_no_work(tmp_path: Path) -> None:
    """Else each of them would cost two tasks a second for as long as the process lives."""
    limiter = Limiter(Database(f"sqlite:///{tmp_path / 'index.db'}"))
    limiter._sweeper = asyncio.create_task(asyncio.Event().wait())  # type: ignore[assignment]
    permits = [
        await admit(limiter, tenant(f"t{number}", rpm=600, tpm=60_000, max_concurrency=8))
        for number in range(20)
    ]
    staying, *others = permits
    for permit in others:
        permit.settle(5, 5)
        permit.release()
    now = time.monotonic()
    applied: list[Draw | Hold] = []
    apply = limiter._ledger.apply

    async def counted(operation: Draw | Hold) -> Grant:
        applied.append(operation)
        return await apply(operation)

    limiter._ledger.apply = counted  # type: ignore[method-assign]
    await limiter._sweep(now + 3.0)
    # What was leased is given back: requests and tokens of each, and the slots of those that left.
    assert len(applied) == 20 * 2 + 19
    applied.clear()
    before = len(asyncio.all_tasks())
    sweeping = asyncio.create_task(limiter._sweep(now + 4.0))
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) <= before + 1
    await sweeping
    assert applied == []
    assert len(limiter._states) == 20
    await limiter._sweep(now + 62.0)
    assert list(limiter._states) == ["tn_t0"]
    # It goes on as if it had not been away.
    again = await admit(limiter, tenant("t5", rpm=600, tpm=60_000, max_concurrency=8))
    assert again.state is not others[4].state
    assert again.state.tokens.remaining <= 60_000
    again.release()
    staying.settle(5, 5)
    staying.release()
    assert staying.state.open == 0
    await limiter.close()


async def test_a_long_request_keeps_what_it_took(tmp_path: Path) -> None:
    """One without slots: nothing else says that it is still there."""
    limiter = Limiter(Database(f"sqlite:///{tmp_path / 'index.db'}"))
    limiter._sweeper = asyncio.create_task(asyncio.Event().wait())  # type: ignore[assignment]
    who = tenant(tpm=60_000)
    long = await admit(limiter, who, tokens=100)
    now = time.monotonic()
    await limiter._sweep(now + 3.0)
    await limiter._sweep(now + 100.0)
    long.settle(50, 5050)
    long.release()
    next_one = await admit(limiter, who)
    assert next_one.state is long.state
    next_one.release()
    await limiter._sweep(now + 200.0)
    await limiter._sweep(now + 300.0)
    assert limiter._states == {}
    await limiter.close()


async def test_the_sweep_gives_back_what_is_idle_and_renews_what_is_used(tmp_path: Path) -> None:
    """An eighth of 16 slots is held for one request; 2 s idle, 5 s to a renewal, 15 to its end."""
    database = Database(f"sqlite:///{tmp_path / 'index.db'}")
    limiter = Limiter(database)
    own = database.aside("limits", patience=3.0)  # where it keeps its state
    permit = await admit(limiter, tenant(max_concurrency=16, rpm=100))
    state = permit.state
    now = time.monotonic()

    def row() -> tuple[int, float]:
        with own.read() as connection:
            found = connection.execute(sa.select(slots.c.held, slots.c.expires)).one()
        return found.held, found.expires

    await limiter._sweep(now)
    assert (state.slots.held, state.requests.units) == (2, 4)  # in use a moment ago
    before = row()[1]
    await limiter._sweep(now + 3.0)
    assert (state.slots.held, state.requests.units) == (1, 0)
    assert row()[0] == 1
    with own.write() as connection:
        connection.execute(slots.update().values(expires=before - 100))
    await limiter._sweep(now + 3.5)
    assert row()[1] == before - 100  # nothing to give back, and not yet to be renewed
    state.renewed = 0.0
    await limiter._sweep(5.0)
    assert row()[1] == before - 100
    await limiter._sweep(5.5)  # more than a third of 15 s later
    assert row()[1] >= before
    assert state.renewed == 5.5
    permit.release()
    await limiter.close()
    with own.read() as connection:
        assert connection.execute(sa.select(slots)).all() == []


async def test_what_has_no_limit_is_not_counted(tmp_path: Path) -> None:
    """Else a limit that is set later would begin below nothing, or with a debt."""
    limiter = Limiter(Database(f"sqlite:///{tmp_path / 'index.db'}"))
    permit = await admit(limiter, tenant(), 50)
    permit.settle(500, 500)
    permit.release()
    state = permit.state
    assert (state.tokens.units, state.tokens._debt, state.requests.units) == (0, 0, 0)
    assert (state.month._in_flight, state.month._settled_sum, state.slots.used) == (0, 0, 0)
    assert permit.headers() == {}
    await limiter.close()


async def test_an_estimate_is_never_less_than_nothing(tmp_path: Path) -> None:
    limiter = Limiter(Database(f"sqlite:///{tmp_path / 'index.db'}"))
    for estimated, counted in ((-7, 0), (0, 0), (1, 1)):
        assert (await admit(limiter, tenant(tpm=100), estimated)).estimated == counted
    await limiter.close()


async def test_defaults_apply_where_a_tenant_sets_nothing(database: Database) -> None:
    limiter = Limiter(database, defaults=Limits(max_concurrency=2))
    assert len(await admitted(limiter, tenant("plain"), 5)) == 2
    assert len(await admitted(limiter, tenant("own", max_concurrency=3), 5)) == 3
    await limiter.close()


async def test_the_monthly_budget_counts_what_metering_counted(database: Database) -> None:
    limiter = Limiter(database)
    who = tenant(monthly_tokens=1000)
    insert_events(
        database,
        [UsageEvent("r0", who.id, "sha256:a", "medical@1", 300, 300, 200, started=time.time())],
    )
    first = await admit(limiter, who, 300)
    with pytest.raises(RateLimited, match="in flight hold what is left of the budget") as caught:
        await admit(limiter, who, 300)
    assert (caught.value.code, caught.value.headers["retry-after"]) == ("rate_limit_exceeded", "2")
    with pytest.raises(RateLimited, match="this month is used up") as caught:
        await admit(limiter, who, 401)
    assert caught.value.code == "insufficient_quota"
    assert caught.value.retry_after > 60
    first.settle(10, 20)
    first.release()
    second = await admit(limiter, who, 300)  # 600 + 30 + 300
    second.release()
    await limiter.close()


HAMMER = """
import asyncio, json, sys, time
from adapterworks.gateway.admission.errors import RateLimited
from adapterworks.gateway.admission.limiter import Limiter
from adapterworks.gateway.tenants.tenant import Limits, Tenant
from adapterworks.registry.index.database import Database

async def hammer(limiter, name, limits, end):
    who, permits = Tenant(name, name, ("*",), "s", Limits(**limits)), []
    refused = 0
    while time.monotonic() < end or refused < 50:
        try:
            permits.append(await limiter.admit(who, model="m", estimated_tokens=50))
        except RateLimited:
            refused += 1
            await asyncio.sleep(0.002)
    return len(permits)

async def main():
    limiter = Limiter(Database(sys.argv[1]))
    print("ready", flush=True)
    sys.stdin.readline()
    end = time.monotonic() + 1.5
    jobs = [hammer(limiter, *item, end) for item in json.loads(sys.argv[2]).items()]
    print(json.dumps(await asyncio.gather(*jobs)), flush=True)
    sys.stdin.readline()

asyncio.run(main())
"""


def test_limits_hold_across_processes(url: str, database: Database) -> None:
    """Two gateways hammer the same three tenants and never release what they are admitted."""
    migrate(database)
    limits = {"rpm": {"rpm": 120}, "tpm": {"tpm": 6000}, "slots": {"max_concurrency": 10}}
    started = [
        subprocess.Popen(
            [warm_python("gateway"), "-c", HAMMER, url, json.dumps(limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(2)
    ]
    try:
        outs = [process.stdout for process in started if process.stdout is not None]
        ins = [process.stdin for process in started if process.stdin is not None]
        assert [out.readline() for out in outs] == ["ready\n"] * 2
        refill = Refill(120)
        for stdin in ins:
            stdin.write("go\n")
            stdin.flush()
        counts = [json.loads(out.readline()) for out in outs]
        requests, token_requests, slots_held = (sum(pair) for pair in zip(*counts, strict=True))
        assert refill.covers(requests, 120)
        assert refill.covers(token_requests, 120)  # 6000 tokens at 50 a request
        assert slots_held == 10
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_slots_of_a_killed_gateway_are_free_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adapterworks.gateway.admission import ledger

    monkeypatch.setattr(ledger, "SLOT_SECONDS", 1.0)
    migrate(database)
    dead, alive = Ledger(database, "dead"), Ledger(database, "alive")
    assert dead.apply([Hold("t", 4, used=0, need=1, want=4)])[0].granted == 4
    assert alive.apply([Hold("t", 4, used=0, need=1, want=4)])[0].granted == 0
    time.sleep(1.05)
    assert alive.apply([Hold("t", 4, used=0, need=1, want=4)])[0].granted == 4


def test_the_ledger_gives_what_is_there_and_no_more(database: Database) -> None:
    migrate(database)
    one, two = Ledger(database, "one"), Ledger(database, "two")

    def draw(need: int, want: int, debt: int = 0) -> Draw:
        return Draw("t", "tokens", 600, need, want, debt)

    refill = Refill(600)
    assert one.apply([draw(1, 400)]) == [Grant(400, 200.0, 0.0)]
    assert refill.covers(two.apply([draw(1, 400)])[0].granted, 200)
    refused = two.apply([draw(590, 600)])[0]
    assert refused.granted == 0
    assert refill.covers(-refused.wait * 10, -590)  # 10 units a second
    assert refill.covers(one.apply([draw(0, 0, debt=-300), draw(250, 600)])[1].granted, 300)
    full = Ledger(database, "three").apply([draw(0, 0, debt=-10_000), draw(600, 9999)])
    assert full[1].granted == 600  # giving back never makes more than the limit


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.05, "50ms"), (0.0001, "1ms"), (1, "1s"), (7.66, "7.66s"), (59.5, "59.5s"), (60, "1m0s"),
     (60.2, "1m1s"), (360, "6m0s"), (3599.5, "1h0m0s"), (7261, "2h1m1s")],
)  # fmt: skip
def test_durations_are_written_as_clients_expect_them(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


async def test_sequences_are_what_requests_and_places_count(database: Database) -> None:
    limiter = Limiter(database)
    who, requests = tenant(rpm=60, max_concurrency=6), Refill(60)
    permit = await limiter.admit(who, model="m", estimated_tokens=1, sequences=5)
    assert requests.covers(int(permit.headers()["x-ratelimit-remaining-requests"]), 55)
    with pytest.raises(RateLimited, match="in flight"):
        await limiter.admit(who, model="m", estimated_tokens=1, sequences=2)
    await limiter.admit(who, model="m", estimated_tokens=1)
    permit.release()
    again = await limiter.admit(who, model="m", estimated_tokens=1, sequences=5)
    again.release()
    with pytest.raises(InvalidInput, match="7 answers at once"):
        await limiter.admit(who, model="m", estimated_tokens=1, sequences=7)
    with pytest.raises(InvalidInput, match="61 answers per minute"):
        await limiter.admit(tenant(rpm=60), model="m", estimated_tokens=1, sequences=61)
    await limiter.close()


async def test_an_answer_without_a_bound_reserves_no_more_than_there_can_be(
    database: Database,
) -> None:
    limiter = Limiter(database)

    async def reserved(who: Tenant, least: int) -> int:
        permit = await limiter.admit(who, model="m", estimated_tokens=5000, demanded_tokens=least)
        permit.release()
        return permit.estimated

    assert await reserved(tenant(), 10) == 5000
    assert await reserved(tenant(tpm=2000), 10) == 1000  # half a minute's
    assert await reserved(tenant(tpm=2000), 1500) == 1500
    assert await reserved(tenant(monthly_tokens=300), 10) == 300
    budget = tenant("small", monthly_tokens=12_000)
    held = [
        await limiter.admit(budget, model="m", estimated_tokens=5000, demanded_tokens=10)
        for _ in range(3)
    ]
    assert [permit.estimated for permit in held] == [5000, 5000, 2000]
    with pytest.raises(RateLimited) as caught:
        await reserved(budget, 10)
    assert caught.value.code == "rate_limit_exceeded"
    for permit in held:
        permit.settle(10, 10)
        permit.release()
    assert await reserved(budget, 10) == 5000
    with pytest.raises(RateLimited, match="this month"):
        await reserved(tenant(monthly_tokens=300), 301)
    await limiter.close()
