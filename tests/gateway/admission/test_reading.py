"""Where bodies are parsed: a tenant's large ones one after the other, beside the loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from adapterworks.gateway.admission import reading as module
from adapterworks.gateway.admission.errors import RateLimited
from adapterworks.gateway.admission.reading import MOST_WAITING, SMALL, Reading
from adapterworks.gateway.http.routes import inference
from adapterworks.gateway.request.endpoints import Call
from tests.gateway.jobs_support import House, house

__all__ = ["house"]


@pytest.fixture
async def reading() -> AsyncIterator[Reading]:
    reading = Reading()
    yield reading
    reading.close()


async def test_small_bodies_are_parsed_at_once_and_large_ones_beside_the_loop(
    reading: Reading,
) -> None:
    here = threading.get_ident()
    assert await reading.of("t", SMALL, threading.get_ident) == here
    assert await reading.of("t", SMALL + 1, threading.get_ident) != here


async def test_a_fault_in_a_large_body_is_told_like_any_other(reading: Reading) -> None:
    def faulty() -> None:
        raise ValueError("no JSON")

    for size in (1, SMALL + 1):
        with pytest.raises(ValueError, match="no JSON"):
            await reading.of("t", size, faulty)


async def test_a_tenants_large_bodies_have_one_turn_and_leave_as_much_time_to_others(
    reading: Reading,
) -> None:
    order: list[str] = []

    def slow(name: str) -> Callable[[], None]:
        def parse() -> None:
            time.sleep(0.15)
            order.append(name)

        return parse

    began = time.monotonic()
    flood = [
        asyncio.create_task(reading.of("flood", SMALL + 1, slow(f"flood-{n}"))) for n in range(3)
    ]
    await asyncio.sleep(0.05)
    await reading.of("quiet", SMALL + 1, lambda: order.append("quiet"))
    await asyncio.gather(*flood)
    assert order == ["flood-0", "quiet", "flood-1", "flood-2"]
    assert time.monotonic() - began > 5 * 0.15


async def test_so_many_large_bodies_wait_and_no_more(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    let = threading.Event()
    waiting = [
        asyncio.create_task(reading.of("flood", SMALL + 1, lambda: let.wait(60)))
        for _ in range(MOST_WAITING)
    ]
    await asyncio.sleep(0)
    with pytest.raises(RateLimited) as caught:
        await reading.of("flood", SMALL + 1, dict)
    assert caught.value.headers == {"retry-after": "1"}
    assert await reading.of("flood", 1, dict) == {}
    let.set()
    await asyncio.gather(*waiting)
    assert await reading.of("flood", SMALL + 1, dict) == {}
    monkeypatch.setattr(module, "_MOST_KNOWN", 1)
    await asyncio.sleep(0.01)
    assert await reading.of("other", SMALL + 1, dict) == {}
    assert list(reading._turns) == ["other"]


def test_a_large_request_is_read_beside_the_loop(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    parse = inference.parse

    def noted(*given: Any, **more: Any) -> Call:
        threads.append(threading.current_thread().name)
        return parse(*given, **more)

    monkeypatch.setattr(inference, "parse", noted)
    with house.running.http(house.keys["acme"]) as http:
        for text in ("short", "long " * 10_000):
            message = {"role": "user", "content": text}
            body = {"model": house.standin.base, "messages": [message], "max_tokens": 1}
            answer = http.post("/v1/chat/completions", json=body)
            assert answer.status_code == 200, answer.text
    assert len(threads) == 2
    assert not threads[0].startswith("bodies")
    assert threads[1].startswith("bodies")
