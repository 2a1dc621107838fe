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

from adapterworks.gateway.storage.schema import usage_events
from adapterworks.registry.bases.base import Base
from adapterworks.registry.jobs import schema
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
    assert metered(house)[0] == 30
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
    with pytest.raises(openai.NotFoundError):
        house.client("globex").batches.retrieve(batch.id)


def test_files_that_are_no_requests_are_refused(house: House) -> None:
    client = house.client()
    rows = put(client).id
    other = put(house.client("globex"), data=json.dumps(request(1, "m")).encode(), purpose="batch")
    for file in (rows, other.id, "file-none"):
        with pytest.raises(openai.BadRequestError) as caught:
            client.batches.create(input_file_id=file, endpoint=CHAT, completion_window="24h")
        assert caught.value.param == "input_file_id"
