"""Metering: every acknowledged request exactly once, whatever is killed, and sums that agree."""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from adapterworks.gateway.metering import meter as metering
from adapterworks.gateway.metering.event import UsageEvent
from adapterworks.gateway.metering.meter import Meter
from adapterworks.gateway.metering.spool import SUFFIX, Segment, adopt_orphans
from adapterworks.gateway.metering.usage import insert_events, prune, usage
from adapterworks.gateway.storage import migrations
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.manifests.errors import InvalidInput, NotFound, Unavailable
from adapterworks.registry.index.database import Database
from tests.forked import CONTEXT

DAY = 86400.0
NOON = 1_795_521_600.0  # 2026-11-24T12:00:00Z


def make(
    request_id: str, *, tenant: str = "tn_a", started: float = NOON, **values: int
) -> UsageEvent:
    tokens = {"prompt_tokens": 10, "completion_tokens": 5, "status": 200, **values}
    return UsageEvent(
        request_id=request_id, tenant=tenant, release="sha256:aa", ref="medical@1",
        started=started, **tokens,
    )  # fmt: skip


def totals(database: Database) -> tuple[int, int, int]:
    """Requests, prompt and completion tokens in all."""
    rows = usage(database, by=())
    if not rows:
        return 0, 0, 0
    return rows[0].requests, rows[0].prompt_tokens, rows[0].completion_tokens


def test_an_event_is_counted_once_however_often_it_comes(database: Database, admin: object) -> None:
    assert insert_events(database, [make("r1"), make("r2"), make("r1")]) == 2
    assert insert_events(database, [make("r1"), make("r3")]) == 1
    assert insert_events(database, []) == 0
    assert totals(database) == (3, 30, 15)


def test_exact_under_concurrency(url: str, database: Database, tmp_path: Path) -> None:
    meters = [Meter(database, spool=tmp_path / "spool") for _ in range(2)]
    for meter in meters:
        meter.start()

    def record(meter: Meter, name: str) -> None:
        futures = [meter.record(make(f"{name}-{n}", prompt_tokens=n)) for n in range(500)]
        for future in futures:
            future.result(timeout=20)

    threads = [
        threading.Thread(target=record, args=(meter, f"{index}-{n}"))
        for index, meter in enumerate(meters)
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for meter in meters:
        meter.close()
    assert totals(database) == (4000, 8 * sum(range(500)), 4000 * 5)
    assert list((tmp_path / "spool").iterdir()) == []


def _record(url: str, spool: Path, run: str, out: Path) -> NoReturn:
    """Record batch after batch, and write down what is acknowledged, until it is killed."""
    meter = Meter(Database(url), spool=spool)
    meter.start()
    rng, n = random.Random(run), 0
    with out.open("w", encoding="utf-8") as file:
        while True:
            batch = []
            for _ in range(rng.randint(1, 20)):
                n += 1
                event = make(
                    f"{run}-{n}",
                    prompt_tokens=rng.randint(1, 900),
                    completion_tokens=rng.randint(0, 300),
                )
                batch.append((event, meter.record(event)))
            for event, future in batch:
                future.result()
                told = (event.request_id, event.prompt_tokens, event.completion_tokens)
                print(*told, file=file, flush=True)


def test_kill_9_loses_nothing_acknowledged_and_counts_nothing_twice(
    url: str, database: Database, tmp_path: Path
) -> None:
    """Processes record and acknowledge, each is killed at a random moment, the next goes on."""
    spool = tmp_path / "spool"
    rng = random.Random(5)
    acknowledged: dict[str, tuple[int, int]] = {}
    left_behind = 0
    for run in range(3):
        out = tmp_path / f"out{run}"
        out.touch()
        process = CONTEXT.Process(target=_record, args=(url, spool, f"run{run}", out))
        process.start()
        while out.stat().st_size == 0:
            assert process.is_alive()
            time.sleep(0.01)
        time.sleep(rng.uniform(0.05, 0.6))
        process.kill()
        process.join()
        left_behind += sum(path.stat().st_size for path in spool.iterdir())
        for line in out.read_text(encoding="utf-8").split("\n")[:-1]:
            request_id, prompt, completion = line.split(" ")
            acknowledged[request_id] = (int(prompt), int(completion))
    assert len(acknowledged) > 100
    assert left_behind > 0
    meter = Meter(database, spool=spool)
    meter.start()
    meter.close()
    with database.read() as connection:
        rows = connection.execute(
            sa.text("SELECT request_id, prompt_tokens, completion_tokens FROM gateway_usage_events")
        ).all()
    counted = {row[0]: (row[1], row[2]) for row in rows}
    assert len(counted) == len(rows)
    lost = {key for key in acknowledged if counted.get(key) != acknowledged[key]}
    assert lost == set()
    # Durable but not yet acknowledged when killed: at most the last batch of each run.
    assert len(counted) - len(acknowledged) <= 3 * 20
    assert totals(database) == (
        len(counted),
        sum(prompt for prompt, _ in counted.values()),
        sum(completion for _, completion in counted.values()),
    )
    assert list(spool.iterdir()) == []


def test_a_running_meter_takes_over_what_a_killed_neighbour_left(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metering, "ORPHAN_SECONDS", 0.1)
    meter = Meter(database, spool=tmp_path)
    meter.start()
    dead = Segment.create(tmp_path)
    dead.append([make("orphan").to_line()])
    assert adopt_orphans(tmp_path) == []  # its owner lives
    dead.close()
    deadline = time.monotonic() + 60
    while totals(database)[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    meter.close()
    assert totals(database) == (1, 10, 5)


def test_an_index_that_is_away_loses_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'index.db'}"
    database = Database(url)
    meter = Meter(database, spool=tmp_path / "spool")
    database.close()
    (tmp_path / "index.db").rename(tmp_path / "away.db")
    (tmp_path / "index.db").mkdir()  # an index that cannot be opened
    meter.start()
    for n in range(50):
        meter.record(make(f"r{n}")).result(timeout=5)
    assert meter.backlog > 0
    (tmp_path / "index.db").rmdir()
    (tmp_path / "away.db").rename(tmp_path / "index.db")
    deadline = time.monotonic() + 60
    while meter.backlog and time.monotonic() < deadline:
        time.sleep(0.05)
    assert totals(database)[0] == 50
    meter.close()


def test_what_is_counted_is_in_the_index(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A month's budget goes by it: what a meter cannot write is held in memory."""
    meter, away, tried = Meter(database, spool=tmp_path / "spool"), [True], threading.Event()

    def insert(database: Database, events: list[UsageEvent]) -> int:
        tried.set()
        if away[0]:
            raise Unavailable("the table is locked")
        return insert_events(database, events)

    monkeypatch.setattr(metering, "insert_events", insert)
    meter.start()
    meter.record(make("r1")).result(timeout=20)
    recorded = time.monotonic()
    assert tried.wait(60)
    assert meter.counted < recorded
    away[0] = False
    deadline = time.monotonic() + 60
    while meter.counted < recorded:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert totals(database) == (1, 10, 5)
    meter.close()


def test_an_event_counts_though_whoever_waited_has_gone(database: Database, tmp_path: Path) -> None:
    """A client that leaves cancels the wait; the writer must neither drop the event nor die."""
    meter = Meter(database, spool=tmp_path / "spool")
    left = meter.record(make("left"))
    assert left.cancel()
    stayed = meter.record(make("stayed"))
    meter.start()
    stayed.result(timeout=20)
    meter.close()
    assert totals(database)[0] == 2


@pytest.mark.parametrize(
    ("open_requests", "fast", "at_once"), [(1, True, True), (2, True, False), (1, False, False)]
)
def test_only_a_sole_request_on_a_fast_disk_is_written_by_its_own_thread(
    open_requests: int,
    fast: bool,
    at_once: bool,
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever writes holds up whatever else its thread does."""
    monkeypatch.setattr(metering, "FAST_SECONDS", 60.0 if fast else 0.0)
    meter = Meter(database, spool=tmp_path / "spool")
    meter.start()
    meter.record(make("first")).result(timeout=20)
    writers, sync = [], os.fsync

    def watched(descriptor: int) -> None:
        writers.append(threading.current_thread())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    for _ in range(open_requests):
        meter.begin()
    futures = [meter.record(make("second"))]
    assert not at_once or futures[0].done()
    futures[0].result(timeout=20)
    assert (writers[0] is threading.current_thread()) is at_once
    # Whoever is left is the only one then.
    futures += [meter.record(make(f"more-{n}")) for n in range(open_requests)]
    for future in futures:
        future.result(timeout=20)
    monkeypatch.setattr(os, "fsync", sync)
    meter.close()
    assert totals(database)[0] == 2 + open_requests


def test_a_full_disk_is_told_to_whoever_waits(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = Meter(database, spool=tmp_path)
    meter.start()
    meter.record(make("before")).result(timeout=5)
    with monkeypatch.context() as patch:

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            meter.record(make("lost")).result(timeout=5)
    meter.record(make("after")).result(timeout=5)
    meter.close()
    assert totals(database)[0] == 2


def test_a_torn_line_is_dropped_and_a_damaged_one_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    segment = Segment.create(tmp_path)
    segment.append([make(f"r{n}").to_line() for n in range(3)])
    segment.close()
    (path,) = tmp_path.glob(f"*{SUFFIX}")
    lines = path.read_bytes().split(b"\n")
    damaged = lines[1].replace(b'"prompt_tokens":10', b'"prompt_tokens":99')
    path.write_bytes(b"\n".join([lines[0], damaged, lines[2], lines[0][:40]]))
    (orphan,) = adopt_orphans(tmp_path)
    assert [UsageEvent.from_line(line).request_id for line in orphan.read(10)] == ["r0", "r2"]
    orphan.advance()
    assert orphan.read(10) == []
    assert orphan.backlog == 0
    assert "damaged line" in caplog.text
    assert "torn line" in caplog.text
    orphan.close()


def test_events_are_append_only(database: Database, admin: TenantAdmin) -> None:
    insert_events(database, [make("r1")])
    for statement in (
        "DELETE FROM gateway_usage_events",
        "UPDATE gateway_usage_events SET prompt_tokens = 0",
    ):
        with pytest.raises(DBAPIError, match="append-only"), database.engine.begin() as connection:
            connection.execute(sa.text(statement))


def test_events_of_before_lose_the_user_that_they_name(url: str) -> None:
    database = Database(url)
    database.migrate(migrations.NAMESPACE, migrations.MIGRATIONS[:11])
    named = replace(make("r1"), user="ann@example.org")
    insert_events(database, [named, make("r2")])
    migrations.migrate(database)
    read = sa.text('SELECT request_id, prompt_tokens, "user" FROM gateway_usage_events')
    with database.read() as connection:
        assert sorted(connection.execute(read)) == [("r1", 10, ""), ("r2", 10, "")]
    changed = sa.text("UPDATE gateway_usage_events SET prompt_tokens = 0")
    with pytest.raises(DBAPIError, match="append-only"), database.engine.begin() as connection:
        connection.execute(changed)
    database.close()


def test_events_cannot_be_replaced_or_emptied(database: Database, admin: TenantAdmin) -> None:
    """INSERT OR REPLACE fires no DELETE trigger on SQLite, TRUNCATE no row trigger elsewhere."""
    insert_events(database, [make("r1")])
    counted = sa.text("SELECT sum(prompt_tokens) FROM gateway_usage_events")
    with database.engine.begin() as connection:
        before = connection.scalar(counted)
    if database.is_sqlite:  # the row that is there stays, as where one answer is recorded twice
        columns = "request_id, tenant, release, ref, endpoint, status, completion_tokens"
        rest = "cold_load, started, seconds"
        with database.engine.begin() as connection:
            connection.exec_driver_sql(
                f"INSERT OR REPLACE INTO gateway_usage_events ({columns}, {rest}, prompt_tokens) "
                f"SELECT {columns}, {rest}, 0 FROM gateway_usage_events"
            )
    else:
        with pytest.raises(DBAPIError, match="append-only"), database.engine.begin() as connection:
            connection.exec_driver_sql("TRUNCATE gateway_usage_events")
    with database.engine.begin() as connection:
        assert connection.scalar(counted) == before > 0


def test_old_events_may_go_and_their_sums_stay(database: Database, admin: TenantAdmin) -> None:
    now = time.time()
    events = [
        make(name, started=now - age * DAY)
        for name, age in (("new", 1), ("month", 30), ("old", 40), ("older", 50))
    ]
    insert_events(database, events)
    before = usage(database, by=("day",))
    with pytest.raises(DBAPIError, match="append-only"):
        prune(database, days=29)
    assert prune(database, days=31, most=1) == 1  # the oldest first
    assert _ids(database) == {"new", "month", "old"}
    assert prune(database, days=31) == 1
    assert prune(database, days=31) == 0
    assert _ids(database) == {"new", "month"}
    assert usage(database, by=("day",)) == before
    changed = "UPDATE gateway_usage_events SET prompt_tokens = 0"
    with pytest.raises(DBAPIError, match="append-only"), database.engine.begin() as connection:
        connection.execute(sa.text(changed))


def test_a_meter_that_is_told_to_removes_old_events(
    database: Database, admin: TenantAdmin, tmp_path: Path
) -> None:
    now = time.time()
    insert_events(database, [make("old", started=now - 50 * DAY), make("new", started=now)])
    meter = Meter(database, spool=tmp_path / "spool", keep_days=31)
    meter.start()
    try:
        deadline = time.monotonic() + 60
        while _ids(database) != {"new"}:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        meter.close()


def test_old_events_go_also_where_nobody_is_answered(
    database: Database, admin: TenantAdmin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metering, "DRAIN_SECONDS", 0.02)
    monkeypatch.setattr(metering, "ORPHAN_SECONDS", 600.0)  # an idle meter's wait
    now = time.time()
    insert_events(database, [make(f"old-{n}", started=now - 50 * DAY) for n in range(2500)])
    meter = Meter(database, spool=tmp_path / "spool", keep_days=31)
    meter.start()
    try:
        deadline = time.monotonic() + 60
        while _ids(database):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        meter.close()
    assert usage(database, by=())[0].requests == 2500


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_a_table_that_is_rewritten_holds_up_no_answer(
    database: Database, admin: TenantAdmin, tmp_path: Path
) -> None:
    """As `VACUUM FULL` does it, which gives the disk of removed events back."""
    meter = Meter(database, spool=tmp_path / "spool")
    meter.start()
    try:
        with database.engine.begin() as connection:
            connection.execute(sa.text("LOCK TABLE gateway_usage_events IN ACCESS EXCLUSIVE MODE"))
            for number in range(20):
                meter.record(make(f"meanwhile-{number}")).result(timeout=30)
            assert usage(database, by=()) == []  # reports and budgets read the sums, and are free
            assert meter.backlog
    finally:
        meter.close()
    assert totals(database) == (20, 200, 100)


def _ids(database: Database) -> set[str]:
    with database.read() as connection:
        return set(connection.scalars(sa.text("SELECT request_id FROM gateway_usage_events")))


def test_usage_by_every_group(database: Database, admin: TenantAdmin) -> None:
    acme, _ = admin.add("acme", allow=("*",), limits=Limits())
    insert_events(
        database,
        [
            make("r1", tenant=acme.id),
            make("r2", tenant=acme.id, started=NOON + DAY, status=500, completion_tokens=0),
            make("r3", tenant="open", started=NOON + DAY, cold_load=True),
            make("r4", tenant=acme.id, started=NOON + 7 * DAY),
        ],
    )
    days = usage(database, by=("day",), tenant="acme")
    assert [(row.group["day"], row.requests, row.failures) for row in days] == [
        ("2026-11-24", 1, 0),
        ("2026-11-25", 1, 1),
        ("2026-12-01", 1, 0),
    ]
    both = usage(database, by=("tenant", "month"))
    assert [(*row.group.values(), row.requests, row.cold_loads) for row in both] == [
        ("acme", "2026-11", 2, 0),
        ("acme", "2026-12", 1, 0),
        ("open", "2026-11", 1, 1),
    ]
    assert usage(database, by=("release",))[0].to_json() == {
        "release": "sha256:aa", "requests": 4, "failures": 1, "cold_loads": 1,
        "prompt_tokens": 40, "completion_tokens": 15, "total_tokens": 55,
    }  # fmt: skip
    assert totals(database) == (4, 40, 15)
    window = usage(database, by=("ref",), since="2026-11-25", until="2026-11-30")
    assert [(row.group["ref"], row.requests) for row in window] == [("medical@1", 2)]
    admin.remove("acme")
    assert len(usage(database, tenant="acme")) == 3  # usage outlives its tenant
    assert usage(database, tenant="open")[0].requests == 1
    with pytest.raises(NotFound):
        usage(database, tenant="nobody")
    for bad in ("yesterday", "2026-13-01", "2026-11-01'; DROP TABLE gateway_usage_days; --"):
        with pytest.raises(InvalidInput):
            usage(database, since=bad)


async def test_recording_does_not_hold_up_the_event_loop(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is waited for in another thread, once for many events."""
    waited: list[int] = []
    fsync = os.fsync

    def counted(descriptor: int) -> None:
        waited.append(threading.get_ident())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", counted)
    meter = Meter(database, spool=tmp_path)
    meter.start()
    waited.clear()
    futures = [meter.record(make(f"r{n}")) for n in range(2000)]
    assert threading.get_ident() not in waited
    await asyncio.gather(*(asyncio.wrap_future(future) for future in futures))
    assert 0 < len(waited) < 200
    meter.close()
    assert totals(database)[0] == 2000


def test_an_event_of_a_newer_program_is_read(tmp_path: Path) -> None:
    values = {**json.loads(make("r1").to_line()), "carbon": 3}
    assert UsageEvent.from_line(json.dumps(values).encode()) == make("r1")
