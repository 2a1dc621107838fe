"""An alias moves every 100 ms under 200 concurrent requests: none dropped, none mislabelled."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import openai

from adapterworks.gateway.config.tables import ResidencyTable
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Start

HELLO = [{"role": "user", "content": "hello"}]
REQUESTS, MOVES = 200, 12


def test_every_answer_is_from_the_digest_in_its_receipt(
    start: Start,
    two_versions: Callable[[str], None],
    registry: Registry,
    standin: StandIn,
) -> None:
    two_versions("flip")
    standin.token_seconds = 0.005
    running = start()
    stop = threading.Event()
    moves = 0

    def flip() -> None:
        nonlocal moves
        while not stop.wait(0.1):
            moves += 1
            registry.promote("flip", 1 + moves % 2, "prod", who="tester")

    async def crowd() -> list[tuple[str, str, str]]:
        client = openai.AsyncOpenAI(
            base_url=running.url + "/v1", api_key="none", max_retries=0, timeout=60.0
        )
        patience = time.monotonic() + 120
        told: list[tuple[str, str, str]] = []

        async def one() -> None:
            while (
                moves < MOVES or len({digest for digest, _, _ in told}) < 2
            ) and time.monotonic() < patience:
                raw = await client.chat.completions.with_raw_response.create(
                    model="flip", messages=HELLO, max_tokens=3
                )
                answer = raw.parse()
                told.append(
                    (
                        raw.headers["x-adapter-digest"][-8:],
                        answer.choices[0].message.content[:8],
                        answer.model,
                    )
                )

        async with client:
            await asyncio.gather(*(one() for _ in range(REQUESTS)))
        return told

    flipper = threading.Thread(target=flip)
    flipper.start()
    try:
        told = asyncio.run(crowd())
    finally:
        stop.set()
        flipper.join()
    assert moves >= MOVES
    assert len(told) >= REQUESTS
    assert all(digest == content and model == "flip" for digest, content, model in told)
    assert len({digest for digest, _, _ in told}) == 2
    assert standin.most_active <= 2


def test_a_promotion_under_traffic_is_never_a_503(
    start: Start,
    two_versions: Callable[[str], None],
    registry: Registry,
    standin: StandIn,
) -> None:
    """The new version takes longer to load than a request would wait for it."""
    two_versions("flip")
    registry.promote("flip", 1, "prod", who="tester")
    running = start(residency=ResidencyTable(cold_wait_seconds=0.5))
    told: list[str] = []
    with running.http() as http:

        def ask() -> str:
            body = {"model": "flip", "messages": HELLO, "max_tokens": 1}
            answer = http.post("/v1/chat/completions", json=body)
            assert answer.status_code == 200, answer.text
            told.append(answer.headers["x-adapter-digest"])
            return told[-1]

        old = ask()
        standin.load_seconds = 2.0
        registry.promote("flip", 2, "prod", who="tester")
        moved = time.monotonic()
        while ask() == old:
            assert time.monotonic() - moved < 60.0
    assert len(told) > 10
    assert time.monotonic() - moved > 1.5  # the old one answered all the while
    assert len(standin.loads) == 2


def test_a_move_is_seen_within_a_second(
    start: Start,
    two_versions: Callable[[str], None],
    registry: Registry,
) -> None:
    two_versions("seen")
    running = start()
    with running.http() as http:
        body = {"model": "seen", "messages": HELLO, "max_tokens": 1}

        def digest() -> str:
            return http.post("/v1/chat/completions", json=body).headers["x-adapter-digest"]

        before = digest()
        registry.promote("seen", 1, "prod", who="tester")
        moved = time.monotonic()
        while digest() == before:
            assert time.monotonic() - moved < 30.0  # a second, where nothing else runs
            time.sleep(0.02)


def test_a_canary_takes_its_share_and_stays_with_a_caller(
    start: Start,
    two_versions: Callable[[str], None],
    registry: Registry,
) -> None:
    two_versions("canary")
    registry.promote("canary", 1, "prod", who="tester")
    registry.promote("canary", 2, "prod", who="tester", weight=20)
    holders = {held.digest: held.weight for held in registry.weights("canary", "prod")}
    running = start()
    with running.http() as http:

        def digest(user: str) -> str:
            body = {"model": "canary", "messages": HELLO, "max_tokens": 1, "user": user}
            return http.post("/v1/chat/completions", json=body).headers["x-adapter-digest"]

        sides = {f"user-{number}": digest(f"user-{number}") for number in range(200)}
        assert all(digest(user) == side for user, side in list(sides.items())[:20])
    canary = next(d for d, weight in holders.items() if weight == 20)
    share = sum(side == canary for side in sides.values()) / len(sides)
    assert 0.12 < share < 0.28
