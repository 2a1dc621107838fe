"""`/v1/batches` through OpenAI's own client: answered once, metered once, also across a restart."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import openai
import pytest
import sqlalchemy as sa
from openai.types import Batch

from adapterworks.gateway.jobs import sharing
from adapterworks.gateway.jobs.asking import MOST_BROKEN
from adapterworks.gateway.request.relay import Relay
from adapterworks.gateway.storage.schema import usage_events
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.bases.base import Base
from adapterworks.registry.jobs import lookup, queue, schema
from adapterworks.registry.registry import Registry
from tests.gateway.files.test_files import put
from tests.gateway.jobs_support import House, again, house, move_in, strict
from tests.gateway.running import Launcher, Loop

__all__ = ["house"]

CHAT = "/v1/chat/completions"
STANDSTILL_S = 300.0


def request(number: int, model: str, **changes: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"question {number}"}]
    body = {"model": model, "messages": messages, "max_tokens": 3}
    return {"custom_id": f"q{number}", "method": "POST", "url": CHAT, "body": body, **changes}


def begin(client: openai.OpenAI, rows: list[dict[str, Any]], **more: Any) -> Batch:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    file = put(client, "asked.jsonl", data, purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", **more
    )


def wait(client: openai.OpenAI, batch: str, *statuses: str) -> Batch:
    deadline = time.monotonic() + STANDSTILL_S
    while (found := client.batches.retrieve(batch)).status not in statuses:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    strict(found)
    return found


def lines(client: openai.OpenAI, file: str | None) -> list[dict[str, Any]]:
    assert file is not None
    return [json.loads(line) for line in client.files.content(file).text.splitlines()]


def test_a_batch_is_answered_in_order_and_refusals_stand_apart(house: House) -> None:
    client, model = house.client(), house.standin.base
    rows = [request(number, model) for number in range(5)]
    rows[1]["body"]["model"] = "no-such-model"
    rows[3]["url"] = "/v1/embeddings"
    batch = begin(client, rows, metadata={"team": "red"})
    strict(batch)
    assert (batch.status, batch.metadata) == ("validating", {"team": "red"})
    done = wait(client, batch.id, "completed", "failed")
    counts = done.request_counts
    assert counts is not None
    assert (done.status, counts.total, counts.completed, counts.failed) == ("completed", 5, 3, 2)
    answers, refusals = (lines(client, f) for f in (done.output_file_id, done.error_file_id))
    assert [answer["custom_id"] for answer in answers] == ["q0", "q2", "q4"]
    assert all(answer["response"]["status_code"] == 200 for answer in answers)
    assert [(r["custom_id"], r["response"]["status_code"]) for r in refusals] == [
        ("q1", 404),
        ("q3", 400),
    ]
    used = sum(answer["response"]["body"]["usage"]["total_tokens"] for answer in answers)
    assert done.usage is not None
    assert done.usage.total_tokens == used > 0
    assert metered(house) == (3, used)
    with house.registry.database.read() as connection:
        names = set(connection.scalars(sa.select(usage_events.c.request_id)))
    assert names == {answer["response"]["request_id"] for answer in answers}
    assert names == {f"{batch.id}-{number}" for number in (1, 3, 5)}  # the lines' numbers
    assert [found.id for found in client.batches.list()] == [batch.id]
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)


def metered(house: House) -> tuple[int, int]:
    """Requests and tokens, once all of them are in the index."""
    tokens = sa.func.sum(usage_events.c.prompt_tokens + usage_events.c.completion_tokens)
    deadline = time.monotonic() + STANDSTILL_S
    while house.running.gateway.meter.backlog:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with house.registry.database.read() as connection:
        count, total = connection.execute(sa.select(sa.func.count(), tokens)).one()
    return count, int(total or 0)


def test_a_batch_goes_on_in_another_gateway_and_no_line_is_paid_twice(
    loop: Loop, registry: Registry, base: Base, tmp_path: Path
) -> None:
    first = Launcher(loop)
    house = move_in(first, registry, base, tmp_path, batch_parallel=2)
    house.standin.token_seconds = 0.2
    rows = [request(number, base.name) for number in range(30)]
    batch = begin(house.client(), rows)
    deadline = time.monotonic() + STANDSTILL_S
    while (counts := house.client().batches.retrieve(batch.id).request_counts) is None or (
        counts.completed < 5
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.close()
    with registry.database.read() as connection:
        before = connection.scalar(sa.select(sa.func.count()).select_from(schema.lines))
    assert before is not None
    assert 5 <= before < 30
    second = Launcher(loop)
    house = again(second, house, base, tmp_path)
    done = wait(house.client(), batch.id, "completed", "failed")
    answers = lines(house.client(), done.output_file_id)
    assert [answer["custom_id"] for answer in answers] == [f"q{number}" for number in range(30)]
    # Those that were kept were not asked again.
    assert len(house.standin.bodies) <= 30 - before
    # What was cut off when the first one ended has cost nobody anything.
    assert done.usage is not None
    assert metered(house) == (30, done.usage.total_tokens)
    second.close()


def test_a_cancelled_batch_keeps_what_was_answered(
    launcher: Launcher, registry: Registry, base: Base, tmp_path: Path
) -> None:
    house = move_in(launcher, registry, base, tmp_path, batch_parallel=1)
    house.standin.token_seconds = 0.05
    client = house.client()
    batch = begin(client, [request(number, base.name) for number in range(200)])
    deadline = time.monotonic() + STANDSTILL_S
    while not len(house.standin.bodies) > 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    strict(client.batches.cancel(batch.id))
    done = wait(client, batch.id, "cancelled")
    counts = done.request_counts
    assert counts is not None
    assert 0 < counts.completed < 200
    assert len(lines(client, done.output_file_id)) == counts.completed
    # What was cut off is not asked again: it is paid for, or cancelling would make it free.
    assert len(house.standin.bodies) >= counts.completed
    deadline = time.monotonic() + 30  # nobody waits until it is written
    while metered(house)[0] < len(house.standin.bodies):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(openai.NotFoundError):
        house.client("globex").batches.retrieve(batch.id)


def test_a_line_that_the_engine_turned_away_first_is_paid_when_it_is_answered(
    house: House,
) -> None:
    """The first attempt's event would have the line's name, and no tokens."""
    house.standin.turns_away = 5
    batch = begin(house.client(), [request(number, house.standin.base) for number in range(3)])
    done = wait(house.client(), batch.id, "completed", "failed")
    assert house.standin.turns_away == 0
    assert done.usage is not None
    assert metered(house) == (3, done.usage.total_tokens)
    with house.registry.database.read() as connection:
        assert set(connection.scalars(sa.select(usage_events.c.status))) == {200}
    assert house.running.gateway.meter._open == 0


def test_an_answer_that_is_broken_off_each_time_is_paid_once_and_asked_for_no_more(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that ends its engine would end it for a day, and one that takes longer than a request
    may would take that for a day, and cost nothing."""
    whole, broken_off = Relay._whole, []

    async def cut(relay: Relay, upstream: Any) -> None:
        if relay._call.payload["messages"][0]["content"] == "question 1":
            broken_off.append(await upstream.read())
            raise Unavailable("the engine broke off its answer", retry_after=0.01)
        await whole(relay, upstream)

    monkeypatch.setattr(Relay, "_whole", cut)
    batch = begin(house.client(), [request(number, house.standin.base) for number in range(3)])
    done = wait(house.client(), batch.id, "completed", "failed")
    assert len(broken_off) == MOST_BROKEN
    answers = lines(house.client(), done.output_file_id)
    assert [line["custom_id"] for line in answers] == ["q0", "q2"]
    (lost,) = lines(house.client(), done.error_file_id)
    assert lost["custom_id"] == "q1"
    assert lost["response"]["status_code"] == 503
    deadline = time.monotonic() + 30  # nobody waits until it is written
    while metered(house)[0] < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with house.registry.database.read() as connection:
        events = {row.request_id: row for row in connection.execute(sa.select(usage_events))}
    of_lost = events.pop(f"{batch.id}-2")
    assert (of_lost.status, of_lost.estimated) == (503, True)
    assert of_lost.completion_tokens == 3  # the most that it might have
    assert {row.status for row in events.values()} == {200}


def test_a_paused_batch_goes_on_and_asks_nothing_twice(
    launcher: Launcher, registry: Registry, base: Base, tmp_path: Path
) -> None:
    """By whoever runs the gateway: OpenAI's client has no word for it."""
    house = move_in(launcher, registry, base, tmp_path, batch_parallel=1)
    house.standin.token_seconds = 0.05
    client = house.client()
    batch = begin(client, of("acme", base.name, 30))
    has_asked(house, "acme", 3)
    with registry.database.write() as connection:
        queue.pause(connection, batch.id, now=time.time())
    deadline = time.monotonic() + STANDSTILL_S
    while True:
        with registry.database.read() as connection:
            if lookup.get(connection, batch.id).state == "paused":
                break
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert wait(client, batch.id, "in_progress").output_file_id is None
    with registry.database.write() as connection:
        queue.resume(connection, batch.id, now=time.time())
    done = wait(client, batch.id, "completed")
    answers = lines(client, done.output_file_id)
    assert [answer["custom_id"] for answer in answers] == [f"q{number}" for number in range(30)]
    assert metered(house)[0] == 30


def test_files_that_are_no_requests_are_refused(house: House) -> None:
    client = house.client()
    rows = put(client).id
    other = put(house.client("globex"), data=json.dumps(request(1, "m")).encode(), purpose="batch")
    for file in (rows, other.id, "file-none"):
        with pytest.raises(openai.BadRequestError) as caught:
            client.batches.create(input_file_id=file, endpoint=CHAT, completion_window="24h")
        assert caught.value.param == "input_file_id"


def asked(house: House, name: str) -> list[int]:
    """Where in the order of what the engine was asked a batch's lines stand."""
    texts = [body["messages"][0]["content"] for body in house.standin.bodies]
    return [place for place, text in enumerate(texts) if text.startswith(name)]


def of(name: str, model: str, count: int) -> list[dict[str, Any]]:
    """Requests that can be told from another tenant's."""
    rows = [request(number, model) for number in range(count)]
    for row in rows:
        row["body"]["messages"][0]["content"] = f"{name} asks {row['custom_id']}"
    return rows


def has_asked(house: House, name: str, least: int) -> None:
    deadline = time.monotonic() + STANDSTILL_S
    while len(asked(house, name)) < least:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_tenants_share_from_the_moment_that_the_second_comes(
    launcher: Launcher, registry: Registry, base: Base, tmp_path: Path
) -> None:
    """However many lines the first has: of what is asked from then on, each has half."""
    house = move_in(launcher, registry, base, tmp_path, batch_parallel=2)
    house.standin.token_seconds = 0.03
    long = begin(house.client(), of("acme", base.name, 2000))
    has_asked(house, "acme", 10)
    short = begin(house.client("globex"), of("globex", base.name, 12))
    wait(house.client("globex"), short.id, "completed")
    first, *_, last = asked(house, "globex")
    between = [place for place in asked(house, "acme") if first < place < last]
    assert len(asked(house, "globex")) == 12
    assert 8 <= len(between) <= 14, between
    # Nobody had to stand aside for it.
    assert house.client().batches.retrieve(long.id).status == "in_progress"
    assert len(asked(house, "acme")) < 1900
    house.client().batches.cancel(long.id)
    wait(house.client(), long.id, "cancelled")


def test_a_tenant_that_waits_for_its_limits_keeps_nobody_waiting(
    launcher: Launcher, registry: Registry, base: Base, tmp_path: Path
) -> None:
    house = move_in(launcher, registry, base, tmp_path, batch_parallel=1)
    TenantAdmin(registry.database, who="tester").set("acme", {"rpm": 1})
    deadline = time.monotonic() + STANDSTILL_S
    while house.running.gateway.tenant(house.acme.id).limits.rpm != 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    limited = begin(house.client(), of("acme", base.name, 3))
    has_asked(house, "acme", 1)
    short = begin(house.client("globex"), of("globex", base.name, 4))
    wait(house.client("globex"), short.id, "completed")
    assert house.client().batches.retrieve(limited.id).status == "in_progress"
    assert len(asked(house, "acme")) < 3
    house.client().batches.cancel(limited.id)
    wait(house.client(), limited.id, "cancelled")


def test_where_there_are_fewer_seats_than_batches_each_gives_way(
    launcher: Launcher,
    registry: Registry,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sharing.Batches.__init__, "__kwdefaults__", {"turn": 0.2})
    house = move_in(launcher, registry, base, tmp_path, batch_parallel=2, batch_running=1)
    house.standin.token_seconds = 0.05
    long = begin(house.client(), of("acme", base.name, 60))
    has_asked(house, "acme", 4)
    short = begin(house.client("globex"), of("globex", base.name, 4))
    done = wait(house.client("globex"), short.id, "completed")
    assert len(asked(house, "acme")) < 60
    ended = wait(house.client(), long.id, "completed")
    for client, batch, count in ((house.client("globex"), done, 4), (house.client(), ended, 60)):
        answers = lines(client, batch.output_file_id)
        assert [answer["custom_id"] for answer in answers] == [f"q{n}" for n in range(count)]
    # What gave way dropped nothing: each line was asked once.
    assert (len(asked(house, "acme")), len(asked(house, "globex"))) == (60, 4)
    assert metered(house)[0] == 64
