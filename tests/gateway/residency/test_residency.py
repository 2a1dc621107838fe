"""Loads, slots, capacity and unloads under concurrency, on a stand-in that counts."""

from __future__ import annotations

import asyncio

import openai
import pytest

from adapterworks.gateway.config.tables import ResidencyTable
from adapterworks.gateway.http.status import describe
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.adapters import Made, publish
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Running, Start

HELLO = [{"role": "user", "content": "hello"}]
NAMES = ("a", "b", "c", "d", "e", "f")


@pytest.fixture
def start(start: Start, registry: Registry, made: dict[str, Made], base: Base) -> Start:
    """Starts a gateway with six adapters, two slots, and three loaded."""
    for name in NAMES:
        publish(registry, made["medical"], base, name)

    def start_six(
        cold_wait: float = 30.0, pins: tuple[str, ...] = (), capacity: int = 3
    ) -> Running:
        table = ResidencyTable(cold_wait_seconds=cold_wait, pins=pins)
        return start(capacity=capacity, residency=table)

    return start_six


def _ask_all(running: Running, models: list[str], **options: object) -> list[object]:
    """All at once; answers or exceptions, in order."""

    async def ask() -> list[object]:
        client = openai.AsyncOpenAI(
            base_url=running.url + "/v1", api_key="none", max_retries=0, timeout=60.0
        )
        async with client:
            return await asyncio.gather(
                *(
                    client.chat.completions.create(model=model, messages=HELLO, **options)  # type: ignore[call-overload]
                    for model in models
                ),
                return_exceptions=True,
            )

    return asyncio.run(ask())


def test_many_first_requests_make_one_load(start: Start, standin: StandIn) -> None:
    standin.load_seconds = 0.2
    answers = _ask_all(start(), ["a"] * 50, max_tokens=1)
    assert not [a for a in answers if isinstance(a, Exception)]
    assert len(standin.loads) == 1


def test_slots_and_capacity_hold_and_nothing_in_use_is_unloaded(
    start: Start, standin: StandIn
) -> None:
    """Anchors 3, 4 and 8: no slot is oversubscribed, no unload races a generation, none starves."""
    standin.token_seconds = 0.005
    running = start()
    answers = _ask_all(running, list(NAMES) * 8, max_tokens=4)
    assert not [a for a in answers if isinstance(a, Exception)]
    assert standin.most_active <= 2
    assert standin.unloaded_in_use == 0
    assert len(standin.loaded) <= 3
    assert len(describe(running.gateway, 0)["engines"][0]["adapters"]) <= 3
    digests = {answer.choices[0].message.content[:8] for answer in answers}  # type: ignore[attr-defined]
    assert len(digests) == len(NAMES)


def test_slots_hold_when_everything_is_loaded(start: Start, standin: StandIn) -> None:
    standin.token_seconds = 0.05  # so long that two adapters' answers overlap on a busy machine too
    answers = _ask_all(start(capacity=6), list(NAMES) * 8, max_tokens=4)
    assert not [a for a in answers if isinstance(a, Exception)]
    assert standin.most_active == 2
    assert standin.unloads == []


def test_a_cold_adapter_gets_its_turn_beside_busy_ones(start: Start, standin: StandIn) -> None:
    """Two adapters that are never idle must not keep a third one out for ever."""
    standin.token_seconds = 0.01
    running = start(cold_wait=20.0)

    async def scene() -> None:
        client = openai.AsyncOpenAI(base_url=running.url + "/v1", api_key="x", max_retries=0)
        busily = asyncio.Event()
        ended = False

        async def busy(model: str) -> None:
            while not ended:
                await client.chat.completions.create(model=model, messages=HELLO, max_tokens=20)
                busily.set()

        crowd = [asyncio.create_task(busy(model)) for model in ("a", "b") for _ in range(4)]
        await busily.wait()
        # Refused after its wait if the others, who go on until then, keep it out.
        await client.chat.completions.create(model="c", messages=HELLO, max_tokens=1)
        ended = True
        await asyncio.gather(*crowd)
        await client.close()

    asyncio.run(scene())


def test_no_slot_within_the_wait_is_503_with_retry_after(start: Start, standin: StandIn) -> None:
    standin.token_seconds = 0.1
    answers = _ask_all(start(cold_wait=1.5), ["a", "b", "c"], max_tokens=40)
    refused = [a for a in answers if isinstance(a, openai.InternalServerError)]
    assert len(refused) == 1
    assert refused[0].status_code == 503
    assert int(refused[0].response.headers["retry-after"]) >= 1
    assert "no free slot" in refused[0].message


def test_the_least_recently_used_goes_and_a_pin_stays(start: Start, standin: StandIn) -> None:
    running = start(pins=("a:prod",))
    client = running.client()
    for model in ("b", "c", "b", "d"):
        client.chat.completions.create(model=model, messages=HELLO, max_tokens=1)
    held = {a["name"]: a for a in describe(running.gateway, 0)["engines"][0]["adapters"]}
    assert set(held) == {"a", "b", "d"}
    assert held["a"]["pinned"]


def test_dynamo_11163_a_failed_load_is_not_reported_as_success(
    start: Start, standin: StandIn
) -> None:
    """The request fails with the engine's words, nothing is generated, and others are answered."""
    running = start()
    standin.cannot_load = "LoRA rank 64 is greater than max_lora_rank 16"
    (answer,) = _ask_all(running, ["a"], max_tokens=1)
    assert isinstance(answer, openai.UnprocessableEntityError), answer
    assert "LoRA rank 64 is greater than max_lora_rank 16" in answer.message
    assert (standin.bodies, standin.loaded) == ([], {})
    (state,) = describe(running.gateway, 0)["engines"][0]["adapters"]
    assert (state["name"], state["state"]) == ("a", "refused")
    standin.cannot_load = None
    assert running.client().chat.completions.create(model="b", messages=HELLO, max_tokens=1).choices
    assert len(standin.bodies) == 1
