"""How often a tenant writes, how many streams it holds, and what reads cost that many ask for."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import openai
import pytest
from sqlalchemy import event

from adapterworks.gateway.admission.errors import RateLimited
from adapterworks.gateway.admission.rates import Rate
from adapterworks.gateway.http import app
from adapterworks.gateway.http.routes import common
from adapterworks.gateway.jobs import scans
from adapterworks.gateway.jobs.batches import counts
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.webhooks import outbox
from adapterworks.gateway.webhooks.events import WebhookEvent
from adapterworks.registry.bases.base import Base
from adapterworks.registry.exchanges.store import ORPHAN_SECONDS, Exchanges
from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs import lookup, putting
from adapterworks.registry.jobs.job import BUILD_LANE, FINE_TUNING, NewJob
from adapterworks.registry.registry import Registry
from tests.gateway.files.test_files import put
from tests.gateway.jobs.test_batches import begin, request, wait
from tests.gateway.jobs_support import House, house, move_in
from tests.gateway.running import Launcher

__all__ = ["house"]


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What a database is asked while the block lasts."""
    said: list[str] = []

    def tell(_c: object, _k: object, statement: str, *_: object) -> None:
        said.append(statement)

    event.listen(database.engine, "before_cursor_execute", tell)
    try:
        yield said
    finally:
        event.remove(database.engine, "before_cursor_execute", tell)


def test_writes_are_so_many_a_minute_each_tenants_own() -> None:
    now = [0.0]
    writes = Rate(60, "writes", clock=lambda: now[0])
    for _ in range(60):
        writes.take("a")
    with pytest.raises(RateLimited) as caught:
        writes.take("a")
    assert caught.value.headers == {"retry-after": "1"}
    writes.take("b")
    now[0] = 2.0
    writes.take("a")
    writes.take("a")
    with pytest.raises(RateLimited):
        writes.take("a")
    now[0] = 1000.0  # rest fills the bucket, and no more
    for _ in range(60):
        writes.take("a")
    with pytest.raises(RateLimited):
        writes.take("a")


def test_what_was_read_counts_afterwards() -> None:
    now = [0.0]
    reads = Rate(60, "reads", clock=lambda: now[0])
    reads.take("a")
    reads.charge("a", 100.5)
    with pytest.raises(RateLimited) as caught:
        reads.take("a")
    assert caught.value.retry_after == 42.5
    reads.take("b")
    now[0] = 42.5
    reads.take("a")
    with pytest.raises(RateLimited):
        reads.take("a")


def test_whoever_reads_too_often_is_told_to_wait_and_may_ask(
    launcher: Launcher,
    registry: Registry,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "READS_A_MINUTE", 12)
    monkeypatch.setattr(app, "Rate", partial(Rate, clock=lambda: 0.0))
    monkeypatch.setattr(common, "ROWS_A_READ", 1)
    house = move_in(launcher, registry, base, tmp_path)
    client, http = house.client(), house.running.http(house.keys["acme"])
    files = [put(client).id for _ in range(2)]
    assert len(list(client.files.list())) == 2  # one read, and two rows
    for _ in range(2):
        assert client.files.retrieve(files[0]).id == files[0]
    ft = client.fine_tuning.jobs
    with http:
        asked = [http.get("/v1/engines") for _ in range(8)]
        assert [one.status_code for one in asked] == [200] * 7 + [429]
        assert asked[-1].headers["retry-after"] == "5"
        for path in ("/v1/usage", "/v1/reviews", "/v1/models", f"/v1/files/{files[0]}/lines"):
            assert http.get(path).status_code == 429, path
            assert http.head(path).status_code == 429, path
    for read in (
        client.models.list,
        lambda: client.models.retrieve(base.name),
        client.files.list,
        lambda: client.files.retrieve(files[0]),
        lambda: client.files.content(files[0]),
        client.batches.list,
        lambda: client.batches.retrieve("batch-none"),
        ft.list,
        lambda: ft.retrieve("ftjob-none"),
        lambda: ft.list_events("ftjob-none"),
        lambda: ft.checkpoints.list("ftjob-none"),
        client.chat.completions.list,
        lambda: client.chat.completions.retrieve("chatcmpl-none"),
    ):
        with pytest.raises(openai.RateLimitError):
            read()
    assert len(list(house.client("globex").files.list())) == 0
    answer = client.chat.completions.create(
        model=base.name, messages=[{"role": "user", "content": "Q"}], max_tokens=1
    )
    assert answer.choices
    assert put(client).id


def test_lines_of_files_are_read_a_few_at_a_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the gateway's reads go through the same few threads as these would."""
    file = put(house.client()).id
    with house.running.http(house.keys["acme"]) as http:
        assert http.get(f"/v1/files/{file}/lines").status_code == 200
        monkeypatch.setattr(scans, "_MOST_OF_ONE", 0)
        assert http.get(f"/v1/files/{file}/lines").status_code == 503
        assert http.get(f"/v1/files/{file}").status_code == 200


async def test_a_scan_that_nobody_waits_for_keeps_its_turn_and_begins_none() -> None:
    """A thread cannot be ended: whoever comes then would be one more."""
    room, began, go = scans.Scans(), list[str](), threading.Event()

    def look(name: str) -> None:
        began.append(name)
        assert go.wait(30)

    names = ("a", "b", "c", "d")
    tasks = [asyncio.create_task(room.run(name, partial(look, name))) for name in names]
    while len(began) < 2:  # noqa: ASYNC110 (it is begun in a thread)
        await asyncio.sleep(0.01)
    tasks[0].cancel()
    tasks[2].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[2]
    assert began == ["a", "b"]
    go.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert began == ["a", "b", "d"]


def test_whoever_writes_too_often_is_told_to_wait_and_may_read(
    launcher: Launcher,
    registry: Registry,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "WRITES_A_MINUTE", 4)
    house = move_in(launcher, registry, base, tmp_path)
    client = house.client()
    batch = begin(client, [request(1, base.name)])  # a file, and the batch
    for _ in range(2):
        put(client)
    ft = client.fine_tuning.jobs
    for write in (
        lambda: put(client),
        lambda: client.files.delete("file-none"),
        lambda: client.batches.cancel(batch.id),
        lambda: begin(client, []),
        lambda: ft.create(model=base.name, training_file="file-none"),
        lambda: ft.pause("ftjob-none"),
        lambda: ft.resume("ftjob-none"),
        lambda: ft.cancel("ftjob-none"),
        lambda: client.models.delete("ft.x.y@1"),
        lambda: client.uploads.cancel("upload-none"),
        lambda: client.uploads.complete("upload-none", part_ids=[]),
        lambda: client.chat.completions.delete("chatcmpl-none"),
        lambda: client.post("/feedback", body={"id": "req-none"}, cast_to=object),
    ):
        with pytest.raises(openai.RateLimitError) as caught:
            write()
        assert caught.value.code == "rate_limit_exceeded"
        assert int(caught.value.response.headers["retry-after"]) >= 1
    assert wait(client, batch.id, "completed").id == batch.id
    assert put(house.client("globex")).id
    answer = client.chat.completions.create(
        model=base.name, messages=[{"role": "user", "content": "Q"}], max_tokens=1
    )
    assert answer.choices  # inference has limits of its own


def test_a_stream_of_events_is_one_of_a_few_and_ends_with_its_key(
    launcher: Launcher,
    registry: Registry,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "STREAMS", 1)
    house = move_in(launcher, registry, base, tmp_path)
    with registry.database.write() as connection:
        new = NewJob(FINE_TUNING, house.acme.id, BUILD_LANE, {})
        job = putting.put(connection, new, now=time.time()).id
    path = f"/v1/fine_tuning/jobs/{job}/events"
    with house.running.http(house.keys["acme"]) as http:
        with http.stream("GET", path, params={"stream": "true"}) as first:
            assert first.status_code == 200
            refused = http.get(path, params={"stream": "true"})
            assert refused.status_code == 429
            assert http.get(path).status_code == 200
        deadline = time.monotonic() + 30
        while True:  # the gateway sees that its reader has left
            with http.stream("GET", path, params={"stream": "true"}) as again:
                if again.status_code == 429:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
                    continue
                TenantAdmin(registry.database, who="tester").remove("acme")
                assert house.running.gateway.tenants is not None
                house.running.gateway.tenants.refresh()
                assert "[DONE]" not in again.read().decode()  # it ends, and the job has not
                break


def test_how_far_a_batch_is_is_read_beside_its_answers(house: House) -> None:
    client, database = house.client(), house.registry.database
    batch = begin(client, [request(number, house.standin.base) for number in range(3)])
    done = wait(client, batch.id, "completed", "failed")
    with statements(database) as said:
        assert client.batches.retrieve(batch.id) == done
        assert [found.id for found in client.batches.list()] == [batch.id]
    assert not any("job_lines" in statement for statement in said)
    begun = begin(client, [request(1, "m")])
    with statements(database) as said, database.read() as connection:
        job, going_on = (lookup.get(connection, name) for name in (batch.id, begun.id))
        counts(connection, replace(going_on, result={}))
        assert job.result["counts"]["completed"] == 3
        (query,) = [statement for statement in said if "job_lines" in statement]
        values = tuple("0" * query.count("?"))
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values)
        assert "COVERING INDEX job_lines_sums" in str(plan.all())


def test_files_without_a_row_are_looked_for_in_pages_and_not_every_minute(
    registry: Registry,
) -> None:
    store = Exchanges.of(registry)
    folder = store.files.folder / "tn_0123456789abcdef"
    folder.mkdir(parents=True)
    now = time.time()
    for number in range(1200):
        path = folder / f"req-{number:024x}"
        path.write_bytes(b"x")
        os.utime(path, (now - 2 * ORPHAN_SECONDS,) * 2)
    with statements(registry.database) as said:
        store.sweep(now)
    assert len([s for s in said if "SELECT" in s]) <= 10
    assert list(folder.iterdir()) == []
    with statements(registry.database) as said:
        store.sweep(now + 60)
    assert len([s for s in said if "SELECT" in s]) == 1


def test_any_number_of_ended_jobs_is_told(registry: Registry) -> None:
    database = registry.database
    migrate(database)
    found = [WebhookEvent(f"evt_{n}", "batch.completed", 0, {}) for n in range(40_000)]
    with database.read() as connection:
        assert outbox._unknown(connection, "a", found) == found
