"""Two gateway processes, two engines, one index in PostgreSQL: what holds must hold across both."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from adapterworks.gateway.metering.usage import usage
from adapterworks.gateway.residency import resolve
from adapterworks.gateway.tenants import store
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.tenant import Limits
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Loop, Served, serve
from tests.gateway.serving import Serving
from tests.postgres import new_database
from tests.registry.releases import publish

CHAT = "/v1/chat/completions"
# Within a second, on a machine that does nothing else; how often is asked is held below.
SOON = 30.0
NAMES = ("a", "b", "c")
# So many that all of them belong to one of two engines once in 4,000 runs: ports are drawn.
ROUTED = tuple(f"routed-{number}" for number in range(13))


@dataclass
class Pair:
    """The two gateways, their engines and the registry they share."""

    registry: Registry
    admin: TenantAdmin
    engines: tuple[StandIn, StandIn]
    urls: tuple[str, str]

    def tenant(self, name: str, **limits: int) -> str:
        """Add a tenant, wait until both gateways know it; returns its key."""
        key = self.admin.add(name, allow=("*",), limits=Limits(**limits))[1].text
        for url in self.urls:
            deadline = time.monotonic() + SOON
            while _models(url, key) != 200:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        return key

    def burst(self, key: str, count: int, **fields: object) -> list[list[httpx.Response]]:
        """`count` requests to each gateway, all at once; answers per gateway."""

        async def one(client: httpx.AsyncClient, url: str) -> httpx.Response:
            return await client.post(url + CHAT, json=_body(**fields))

        async def all_() -> list[list[httpx.Response]]:
            headers = {"authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(headers=headers, timeout=30.0) as client:
                jobs = [asyncio.gather(*(one(client, u) for _ in range(count))) for u in self.urls]
                return [list(answers) for answers in await asyncio.gather(*jobs)]

        return asyncio.run(all_())


def _body(**fields: object) -> dict[str, object]:
    hello = [{"role": "user", "content": "hello"}]
    return {"model": "a", "messages": hello, "max_tokens": 1, **fields}


def _models(url: str, key: str) -> int:
    return httpx.get(url + "/v1/models", headers={"authorization": f"Bearer {key}"}).status_code


def _digest(url: str, key: str, model: str) -> str:
    headers = {"authorization": f"Bearer {key}"}
    answer = httpx.post(url + CHAT, json=_body(model=model), headers=headers, timeout=30.0)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-adapter-digest"]


@pytest.fixture(scope="module")
def pair(
    loop: Loop, base: Base, postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    """Each gateway has a home of its own, as on two machines; index and blobs are shared."""
    folder = tmp_path_factory.mktemp("pair")
    shared = {
        "ADAPTERS_DATABASE": new_database(postgres_server).replace("postgresql://", _DRIVER, 1),
        "ADAPTERS_BLOBS": str(folder / "blobs"),
        "ADAPTERS_GATEWAY_RESIDENCY__MAX_LORAS": str(len(NAMES + ROUTED)),
    }
    registry = Registry.open(
        database=shared["ADAPTERS_DATABASE"], blobs=str(folder / "blobs"), home=folder / "home"
    )
    for number, name in enumerate(NAMES + ROUTED, 1):
        for version in (number, number + 50) if name in NAMES else (number,):
            publish(registry, folder, version, name=name, alias="prod", base=base.identity)
    engines = (StandIn(base.name), StandIn(base.name))
    served: list[Served] = [loop.run(serve(engine.app())) for engine in engines]
    gateways = [
        Serving(folder / f"gateway-{number}", [s.url for s in served], environment=shared)
        for number in range(2)
    ]
    try:
        for gateway in gateways:
            gateway.wait_ready()
        admin = TenantAdmin(registry.database, who="tester")
        yield Pair(registry, admin, engines, (gateways[0].url, gateways[1].url))
    finally:
        for gateway in gateways:
            gateway.end()
        for server in served:
            loop.run(server.stop())
        registry.close()


_DRIVER = "postgresql+psycopg://"


def test_what_others_change_is_asked_for_often_enough_to_be_seen_within_a_second() -> None:
    assert resolve.POLL_SECONDS <= 0.25
    assert store.POLL_SECONDS <= 0.25


def test_a_moved_alias_is_seen_by_both_within_a_second(pair: Pair) -> None:
    key = pair.tenant("mover")
    for version in (1, 2, 1):
        pair.registry.promote("b", version, "prod", who="tester")
        moved = time.monotonic()
        wanted = pair.registry.resolve("b").digest
        for url in pair.urls:
            while _digest(url, key, "b") != wanted:
                assert time.monotonic() - moved < SOON
                time.sleep(0.02)


def test_one_requests_per_minute_holds_over_both(pair: Pair) -> None:
    key = pair.tenant("hasty", rpm=60)
    began = time.monotonic()
    answers = pair.burst(key, 80)
    seconds = time.monotonic() - began
    admitted = [sum(a.status_code == 200 for a in side) for side in answers]
    assert {a.status_code for side in answers for a in side} == {200, 429}
    assert all(a.headers["retry-after"] for side in answers for a in side if a.status_code == 429)
    # Each gateway leases three requests at a time and may hold some that it did not need.
    assert 54 <= sum(admitted) <= 60 * (1 + seconds / 60) + 1
    assert min(admitted) > 0


def test_one_concurrency_holds_over_both(pair: Pair) -> None:
    key = pair.tenant("wide", max_concurrency=4)
    for engine in pair.engines:
        engine.token_seconds = 2.0
    try:
        answers = pair.burst(key, 10)
    finally:
        for engine in pair.engines:
            engine.token_seconds = 0.0
    status = Counter(a.status_code for side in answers for a in side)
    assert status == {200: 4, 429: 16}
    # And the places are free again, as soon as the other gateway has given back what it leased.
    headers = {"authorization": f"Bearer {key}"}
    deadline = time.monotonic() + SOON
    while (again := httpx.post(pair.urls[1] + CHAT, json=_body(), headers=headers)).is_error:
        assert again.status_code == 429
        assert time.monotonic() < deadline
        time.sleep(float(again.headers["retry-after"]))


def test_a_revoked_key_is_refused_by_both_within_a_second(pair: Pair) -> None:
    key = pair.tenant("gone")
    pair.admin.revoke_key(key)
    revoked = time.monotonic()
    for url in pair.urls:
        while _models(url, key) != 401:
            assert time.monotonic() - revoked < SOON
            time.sleep(0.02)


def test_both_send_an_adapter_to_the_same_engine_and_use_both_engines(pair: Pair) -> None:
    key = pair.tenant("router")
    digests = set()
    for name in ROUTED:  # asked for one at a time: nothing to spill to the other engine
        digest = _digest(pair.urls[0], key, name)
        assert digest == _digest(pair.urls[1], key, name)
        digests.add(digest)
    one, other = (set(engine.loads) & digests for engine in pair.engines)
    assert one
    assert other
    assert not one & other


def test_usage_of_both_is_one_sum(pair: Pair) -> None:
    key = pair.tenant("payer")
    before = [(engine.prompt_tokens, engine.completion_tokens) for engine in pair.engines]
    answers = pair.burst(key, 20, model="c", max_tokens=3)
    assert {a.status_code for side in answers for a in side} == {200}
    after = [(engine.prompt_tokens, engine.completion_tokens) for engine in pair.engines]
    counted = [
        sum(now[kind] - was[kind] for was, now in zip(before, after, strict=True))
        for kind in range(2)
    ]
    deadline = time.monotonic() + SOON
    while True:
        rows = usage(pair.registry.database, by=("tenant", "release"), tenant="payer")
        if sum(row.requests for row in rows) == 40:
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (row,) = rows
    assert [row.prompt_tokens, row.completion_tokens] == counted
    assert row.group["release"] == pair.registry.resolve("c").digest
