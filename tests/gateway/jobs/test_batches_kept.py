"""Batches of tenants that let answers be kept: kept by line, and found by what names a line."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from starlette.types import Receive

from adapterworks.gateway.jobs import asking, batching
from adapterworks.gateway.request.exchange import Exchange
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.consent import Consent
from tests.gateway.jobs.test_batches import begin, lines, request, wait
from tests.gateway.jobs_support import House, house

__all__ = ["house"]


def agree(house: House, consent: Consent | None) -> None:
    """acme says what may be kept; the gateway knows it when this returns."""
    TenantAdmin(house.registry.database, who="tester").set("acme", {"capture": consent})
    assert house.running.gateway.tenants is not None
    house.running.gateway.tenants.refresh()


def kept(house: House, least: int) -> list[str]:
    """The receipts that are kept, once there are so many."""
    deadline = time.monotonic() + 30
    while True:
        found = [item.receipt for item in house.running.gateway.capture.store.read()]
        if len(found) >= least:
            return sorted(found)
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def test_a_batch_is_kept_line_by_line_and_feedback_finds_the_line(house: House) -> None:
    agree(house, Consent(adapters=("*",)))
    client, model = house.client(), house.standin.base
    batch = begin(client, [request(number, model) for number in range(3)])
    done = wait(client, batch.id, "completed", "failed")
    assert done.status == "completed"
    assert kept(house, 3) == [f"{batch.id}-{number}" for number in (1, 2, 3)]
    (line, *_) = lines(client, done.output_file_id)
    names = (line["id"], line["response"]["request_id"], line["response"]["body"]["id"])
    with house.running.http(house.keys["acme"]) as http:
        for number, name in enumerate(names):
            said = http.post(
                "/v1/feedback", json={"id": name, "reviewer": f"r{number}", "score": 1}
            )
            assert said.status_code == 201, said.json()
    with house.running.http(house.keys["globex"]) as http:
        assert http.post("/v1/feedback", json={"id": names[0], "score": 1}).status_code == 404
    (item,) = [i for i in house.running.gateway.capture.store.read() if i.receipt == names[1]]
    assert len(item.feedback) == 3


def test_a_sample_is_drawn_of_a_batchs_lines_too(house: House) -> None:
    consent = Consent(adapters=("*",), sample=0.5)
    agree(house, consent)
    client, model = house.client(), house.standin.base
    batch = begin(client, [request(number, model) for number in range(12)])
    assert wait(client, batch.id, "completed", "failed").status == "completed"
    wanted = [name for n in range(1, 13) if consent.takes(name := f"{batch.id}-{n}")]
    assert kept(house, len(wanted)) == sorted(wanted)


def test_a_line_that_is_cut_off_is_asked_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the cancellation of something it waited for: no error, and nobody's wish."""
    whole, cut = asking.collected, ["question 1", "question 2"]
    monkeypatch.setattr(batching, "_AGAIN_S", 0.1)

    async def collected(exchange: Exchange, receive: Receive) -> Any:
        content = exchange._call.payload["messages"][0]["content"]
        if content in cut:
            cut.remove(content)
            raise asyncio.CancelledError
        return await whole(exchange, receive)

    monkeypatch.setattr(asking, "collected", collected)
    client, model = house.client(), house.standin.base
    batch = begin(client, [request(number, model) for number in range(5)])
    done = wait(client, batch.id, "completed", "failed")
    assert not cut
    answers = lines(client, done.output_file_id)
    assert [line["custom_id"] for line in answers] == ["q0", "q1", "q2", "q3", "q4"]


def test_a_defect_that_one_line_meets_costs_that_line(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = asking.collected

    async def collected(exchange: Exchange, receive: Receive) -> Any:
        if exchange._call.payload["messages"][0]["content"] == "question 1":
            raise ValueError("secret path /srv/gateway")
        return await whole(exchange, receive)

    monkeypatch.setattr(asking, "collected", collected)
    client, model = house.client(), house.standin.base
    batch = begin(client, [request(number, model) for number in range(3)])
    done = wait(client, batch.id, "completed", "failed")
    assert [line["custom_id"] for line in lines(client, done.output_file_id)] == ["q0", "q2"]
    (refused,) = lines(client, done.error_file_id)
    assert (refused["custom_id"], refused["response"]["status_code"]) == ("q1", 500)
    assert "srv" not in json.dumps(refused)
