"""Tokens are metered as the engine counts them, however a request ends."""

from __future__ import annotations

import asyncio
import time

import httpx
import openai
import pytest

from adapterworks.gateway.metering.usage import usage
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.adapters import Made, publish
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Running, Start

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def running(start: Start, registry: Registry, made: dict[str, Made], base: Base) -> Running:
    publish(registry, made["medical"], base, "medical")
    return start()


def _metered(registry: Registry, at_least: int) -> tuple[int, int, int]:
    """Requests, prompt and completion tokens in the index, once `at_least` requests are there."""
    deadline = time.monotonic() + 60
    while True:
        rows = usage(registry.database, by=("release",))
        total = sum(row.requests for row in rows)
        if total >= at_least:
            return (
                total,
                sum(row.prompt_tokens for row in rows),
                sum(row.completion_tokens for row in rows),
            )
        assert time.monotonic() < deadline, total
        time.sleep(0.05)


def test_streams_and_whole_answers_sum_to_the_engines_count(
    running: Running, registry: Registry, standin: StandIn
) -> None:

    async def crowd() -> None:
        client = openai.AsyncOpenAI(base_url=running.url + "/v1", api_key="none", max_retries=0)

        async def one(number: int) -> None:
            answer = await client.chat.completions.create(
                model="medical", messages=HELLO, max_tokens=1 + number % 5, stream=number % 2 == 0
            )
            if number % 2 == 0:
                async for _ in answer:
                    pass

        async with client:
            await asyncio.gather(*(one(number) for number in range(100)))

    asyncio.run(crowd())
    assert _metered(registry, 100) == (100, standin.prompt_tokens, standin.completion_tokens)


def test_a_stream_is_metered_to_the_token_when_the_client_leaves(
    running: Running, registry: Registry, standin: StandIn
) -> None:
    standin.token_seconds = 0.05
    body = {"model": "medical", "messages": HELLO, "max_tokens": 200, "stream": True}
    seen = 0
    with httpx.stream("POST", running.url + "/v1/chat/completions", json=body) as answer:
        for line in answer.iter_lines():
            seen += line.startswith("data: ")
            if seen == 5:
                break
    requests, prompt, completion = _metered(registry, 1)
    assert requests == 1
    assert prompt == standin.prompt_tokens
    assert 5 <= completion <= 100
    deadline = time.monotonic() + 5
    while any(standin.active.values()):  # the engine was told to stop, or it would take ten seconds
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert standin.completion_tokens <= completion + 1


def test_the_engine_going_away_is_metered_and_said(
    running: Running, registry: Registry, standin: StandIn
) -> None:
    standin.token_seconds = 0.05
    body = {"model": "medical", "messages": HELLO, "max_tokens": 200, "stream": True}
    lines: list[str] = []
    with httpx.stream("POST", running.url + "/v1/chat/completions", json=body) as answer:
        for line in answer.iter_lines():
            lines.append(line)
            if len(lines) == 10:
                standin.broken = True
    assert '"error"' in [line for line in lines if line][-1]
    assert not any("[DONE]" in line for line in lines)
    requests, _, completion = _metered(registry, 1)
    assert requests == 1
    assert completion == standin.completion_tokens
