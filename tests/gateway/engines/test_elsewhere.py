"""An engine whose process has just gone: a request that did not reach it goes to another one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from adapterworks.gateway.config.tables import GatewayConfig, TrustTable
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.metering.usage import usage
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop, Running, Served, serve
from tests.registry.releases import publish

HELLO: Any = [{"role": "user", "content": "hello"}]


@dataclass
class Two:
    """A gateway and two engines, of which the first of each pair has the adapter."""

    running: Running
    standins: dict[str, tuple[StandIn, Served]]
    loop: Loop

    def holder(self) -> tuple[StandIn, Served]:
        """The engine that has an adapter loaded."""
        (found,) = [pair for pair in self.standins.values() if pair[0].loaded]
        return found

    def engine(self, served: Served) -> Engine:
        return next(
            e for e in self.running.gateway.pool.engines if getattr(e, "url", "") == served.url
        )


@pytest.fixture
def two(
    launcher: Launcher, loop: Loop, registry: Registry, base: Base, tmp_path: Path
) -> Iterator[Two]:
    described = ServedBase(base.name, base.name, base.digest)
    standins, engines = {}, []
    for name in ("one", "other"):
        standin = StandIn(base.name)
        served = loop.run(serve(standin.app()))
        standins[name] = (standin, served)
        engine = launcher.remote(described, served.url, id=name)
        # So seldom that no health check sees the end of an engine before a request does.
        vars(engine)["_interval"] = 3600.0
        engines.append(engine)
    config = GatewayConfig(open=True, trust=TrustTable(proof="off"))
    running = launcher.gateway(registry, engines, tmp_path / "spool", config)
    running.wait_for_engines()
    yield Two(running, standins, loop)
    for _, served in standins.values():
        loop.run(served.stop())


def test_a_request_that_does_not_reach_its_engine_goes_to_another(
    two: Two, registry: Registry, base: Base, tmp_path: Path
) -> None:
    digest = publish(registry, tmp_path, 1, alias="prod", base=base.identity).digest
    client = two.running.client()

    def ask() -> Any:
        return client.chat.completions.with_raw_response.create(
            model="medical", messages=HELLO, max_tokens=3
        )

    ask()
    standin, served = two.holder()
    two.loop.run(served.stop())
    engine = two.engine(served)
    assert engine.health.state == "ready"  # nobody has noticed
    answer = ask()
    assert answer.headers["x-adapter-digest"] == digest
    (other,) = [s for s, _ in two.standins.values() if s is not standin]
    assert other.loads == [digest]
    assert len(other.bodies) == 1
    assert engine.health.state == "down"  # a connection that is refused says enough
    ask()
    assert len(other.bodies) == 2
    two.loop.run(two.running.gateway.stop())
    (row,) = usage(registry.database, by=("release",))
    assert (row.requests, row.failures) == (3, 0)
    assert row.completion_tokens == 3 * 3


def test_another_engine_that_cannot_score_a_prompt_is_not_asked_to(
    two: Two, registry: Registry, base: Base, tmp_path: Path
) -> None:
    publish(registry, tmp_path, 1, alias="prod", base=base.identity)
    body = {"model": "medical", "prompt": [1, 2, 3], "max_tokens": 1}
    with two.running.http() as http:
        assert http.post("/v1/completions", json=body).status_code == 200
        standin, served = two.holder()
        standin.scores_prompts = True  # the other one runs without our plugin
        scoring = {**body, "prompt_logprobs": 1}
        assert http.post("/v1/completions", json=scoring).status_code == 200
        two.loop.run(served.stop())
        answer = http.post("/v1/completions", json=scoring)
    assert answer.status_code == 400
    assert "cannot score the prompt's own tokens" in answer.json()["error"]["message"]
    (other,) = [s for s, _ in two.standins.values() if s is not standin]
    assert not any("prompt_logprobs" in sent for sent in other.bodies)


def test_when_there_is_no_other_the_client_is_told_so(
    two: Two, registry: Registry, base: Base, tmp_path: Path
) -> None:
    publish(registry, tmp_path, 1, alias="prod", base=base.identity)
    client = two.running.client()
    client.chat.completions.create(model="medical", messages=HELLO, max_tokens=1)
    for _, served in two.standins.values():
        two.loop.run(served.stop())
    for _ in range(2):
        with pytest.raises(openai.InternalServerError) as refused:
            client.chat.completions.create(model="medical", messages=HELLO, max_tokens=1)
        assert refused.value.status_code == 503
        assert refused.value.response.headers["retry-after"]


def test_a_list_of_prompts_is_not_asked_again_elsewhere(
    two: Two, registry: Registry, base: Base, tmp_path: Path
) -> None:
    publish(registry, tmp_path, 1, alias="prod", base=base.identity)
    http = two.running.http()
    body = {"model": "medical", "prompt": ["a"] * 65, "max_tokens": 1}  # more than fit at once
    with http:
        assert http.post("/v1/completions", json=body).status_code == 200
        standin, served = two.holder()
        two.loop.run(served.stop())
        answer = http.post("/v1/completions", json=body)
    assert answer.status_code == 503, json.dumps(answer.json())
    (other,) = [s for s, _ in two.standins.values() if s is not standin]
    assert other.bodies == []
