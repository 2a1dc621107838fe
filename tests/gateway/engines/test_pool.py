"""Which engine answers, and what a second gateway and a shadow see."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from adapterworks.gateway.config.tables import GatewayConfig, ShadowTable, TrustTable
from adapterworks.gateway.engines.engine import Health
from adapterworks.gateway.engines.pool import EnginePool
from adapterworks.gateway.engines.routing import Seen
from adapterworks.gateway.engines.target import ServedBase, Target
from adapterworks.manifests.errors import NotFound, Unavailable
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.adapters import Made, publish
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Start

HELLO = [{"role": "user", "content": "hello"}]
BASE = "sha256:" + "b" * 64


class Idle:
    """As much of an engine as routing looks at."""

    def __init__(self, name: str, base: str = BASE, state: str = "ready") -> None:
        self.id = name
        self.base = ServedBase("base", "base", base)
        self.health = Health(state, "for the test", 1)  # type: ignore[arg-type]
        self.inflight = 0


def see(engine: Any) -> Seen:
    """What there is to be seen of an engine: what it was given, room for 32, no adapter."""
    return Seen(engine.inflight, 32, False)


def _target(number: int) -> Target:
    return Target("a", "a", BASE, digest=f"sha256:{number:064x}")


def _pool(*engines: Idle) -> EnginePool:
    return EnginePool(engines)  # type: ignore[arg-type]


def test_a_digest_stays_with_its_engine_and_digests_spread() -> None:
    pool = _pool(*(Idle(f"engine-{number}") for number in range(4)))
    places = {number: pool.route(_target(number), see).id for number in range(400)}
    assert all(pool.route(_target(number), see).id == place for number, place in places.items())
    assert min(Counter(places.values()).values()) > 60


def test_losing_an_engine_moves_only_its_own_digests() -> None:
    engines = [Idle(f"engine-{number}") for number in range(4)]
    before = {number: _pool(*engines).route(_target(number), see).id for number in range(200)}
    engines[2].health = Health("down", "killed", 1)
    after = {number: _pool(*engines).route(_target(number), see).id for number in range(200)}
    moved = {number for number in before if before[number] != after[number]}
    assert moved == {number for number, place in before.items() if place == "engine-2"}


def test_a_busy_engine_spills_to_the_next() -> None:
    engines = [Idle("one"), Idle("two")]
    pool = _pool(*engines)
    first = pool.route(_target(7), see)
    first.inflight = 50  # type: ignore[misc]
    assert pool.route(_target(7), see).id != first.id


def test_another_base_is_never_an_alternative() -> None:
    pool = _pool(Idle("other", base="sha256:" + "c" * 64), Idle("own", state="down"))
    with pytest.raises(Unavailable, match="not ready: down"):
        pool.route(_target(1), see)
    with pytest.raises(NotFound, match="no engine serves the base"):
        _pool(Idle("other", base="sha256:" + "c" * 64)).route(_target(1), see)


def test_two_gateways_and_two_engines_share_what_the_registry_says(
    launcher: Launcher,
    two_versions: Callable[[str], None],
    registry: Registry,
    base: Base,
    tmp_path: Path,
) -> None:
    two_versions("shared")
    standins = [StandIn(base.name), StandIn(base.name)]
    running = [
        launcher.gateway(
            registry,
            [launcher.standin(base, s, id=f"engine-{n}") for n, s in enumerate(standins)],
            tmp_path / f"spool-{gateway}",
            GatewayConfig(open=True, trust=TrustTable(proof="off")),
        )
        for gateway in range(2)
    ]
    for gateway in running:
        gateway.wait_for_engines()

    def digests() -> set[str]:
        return {
            g.client()
            .chat.completions.with_raw_response.create(model="shared", messages=HELLO, max_tokens=1)
            .headers["x-adapter-digest"]
            for g in running
        }

    assert len(digests()) == 1
    before = digests()
    registry.promote("shared", 1, "prod", who="tester")
    moved = time.monotonic()
    while digests() == before or len(digests()) == 2:
        assert time.monotonic() - moved < 30
    # Both gateways chose the same engine for each version: it is loaded in one of them only.
    for version in (1, 2):
        digest = registry.version("shared", version).digest
        assert sorted(s.loads.count(digest) for s in standins) == [0, 1]


def test_a_shadow_is_asked_and_costs_the_caller_nothing(
    start: Start, registry: Registry, standin: StandIn, made: dict[str, Made], base: Base
) -> None:
    for name in ("medical", "code"):
        publish(registry, made[name], base, name)
    standin.token_seconds = 0.02
    running = start(shadow=(ShadowTable(adapter="medical", to="code:prod"),))

    async def ask() -> None:
        async with openai.AsyncOpenAI(base_url=running.url + "/v1", api_key="x") as client:
            await asyncio.gather(
                *(
                    client.chat.completions.create(model="medical", messages=HELLO, max_tokens=4)
                    for _ in range(3)
                )
            )

    asyncio.run(ask())
    shadow = registry.resolve("code").digest
    deadline = time.monotonic() + 60
    while sum(body["model"] == shadow for body in standin.bodies) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert sum(body["model"] != shadow for body in standin.bodies) == 3


def test_a_burst_for_one_adapter_is_answered_where_it_is_loaded_once(
    launcher: Launcher, made: dict[str, Made], registry: Registry, base: Base, tmp_path: Path
) -> None:
    publish(registry, made["medical"], base, "medical")
    standins = [StandIn(base.name) for _ in range(4)]
    for standin in standins:
        standin.token_seconds = 0.01
    running = launcher.gateway(
        registry,
        [launcher.standin(base, s, id=f"engine-{n}") for n, s in enumerate(standins)],
        tmp_path / "spool",
        GatewayConfig(open=True, trust=TrustTable(proof="off")),
    )
    running.wait_for_engines()

    async def ask() -> None:
        async with openai.AsyncOpenAI(base_url=running.url + "/v1", api_key="x") as client:
            await asyncio.gather(
                *(
                    client.chat.completions.create(model="medical", messages=HELLO, max_tokens=4)
                    for _ in range(16)
                )
            )

    asyncio.run(ask())
    assert sorted(len(standin.loads) for standin in standins) == [0, 0, 0, 1]
    assert sorted(len(standin.bodies) for standin in standins) == [0, 0, 0, 16]
