"""Scores of a prompt are asked only of an engine that has them: others would end, for everybody."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from adapterworks.gateway.config.tables import (
    GatewayConfig,
    LimitsTable,
    ShadowTable,
    TrustTable,
)
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.adapters import Made, publish
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Start
from tests.registry.releases import publish as put

ASKING = ({"prompt_logprobs": 1}, {"echo": True, "logprobs": 0}, {"prompt_logprobs": 0})


@pytest.mark.parametrize("model", ["medical", "smollm2-135m-instruct"])
def test_an_engine_that_cannot_score_prompts_is_not_asked_to(
    start: Start, standin: StandIn, registry: Registry, base: Base, tmp_path: Path, model: str
) -> None:
    """A stock engine: it answers a probe without the scores that are asked for."""
    put(registry, tmp_path, 1, name="medical", alias="prod", base=base.identity)
    with start().http() as http:
        body: dict[str, Any] = {"model": model, "prompt": "one two three", "max_tokens": 1}
        for extra in ASKING:
            answer = http.post("/v1/completions", json={**body, **extra})
            assert answer.status_code == 400
            error = answer.json()["error"]
            assert "cannot score the prompt's own tokens" in error["message"]
            assert error["param"] in extra
        assert http.post("/v1/completions", json=body).status_code == 200
    assert not any("prompt_logprobs" in sent or sent.get("echo") for sent in standin.bodies)
    assert len([sent for sent in standin.bodies if "vllm_xargs" in sent]) == 1  # it is asked once


def test_one_that_can_is_sent_what_was_asked(
    start: Start, standin: StandIn, registry: Registry, base: Base, tmp_path: Path
) -> None:
    put(registry, tmp_path, 1, name="medical", alias="prod", base=base.identity)
    standin.scores_prompts = True
    with start().http() as http:
        body: dict[str, Any] = {"model": "medical", "prompt": [1, 2, 3], "max_tokens": 1}
        for extra in ASKING:
            answer = http.post("/v1/completions", json={**body, **extra})
            assert answer.status_code == 200, answer.text
            assert extra.items() <= standin.bodies[-1].items()
            assert standin.bodies[-1]["model"].startswith("sha256:")


def test_whoever_may_not_ask_now_has_nothing_asked(
    start: Start, standin: StandIn, registry: Registry, base: Base, tmp_path: Path
) -> None:
    """What an engine can is asked of it for those who are let in."""
    put(registry, tmp_path, 1, name="medical", alias="prod", base=base.identity)
    with start(limits=LimitsTable(rpm=1)).http() as http:
        body: dict[str, Any] = {"model": "medical", "prompt": "one", "max_tokens": 1}
        assert http.post("/v1/completions", json=body).status_code == 200
        before = len(standin.bodies)
        answer = http.post("/v1/completions", json={**body, "prompt_logprobs": 1})
        assert answer.status_code == 429
    assert len(standin.bodies) == before


def test_a_shadow_asks_its_own_engine_whether_it_can(
    launcher: Launcher, made: dict[str, Made], registry: Registry, base: Base, tmp_path: Path
) -> None:
    """The first one has our plugin, and the one that the shadow lives on has not."""
    standins = {"plugin": StandIn(base.name, scores_prompts=True), "stock": StandIn(base.name)}
    engines = [launcher.standin(base, standin, id=id) for id, standin in standins.items()]
    config = GatewayConfig(open=True, trust=TrustTable(proof="off"))
    running = launcher.gateway(registry, engines, tmp_path / "spool", config)
    running.wait_for_engines()
    gateway = running.gateway
    at: dict[str, str] = {}  # a release that lives there, by engine
    for number in range(100):
        release = publish(registry, made["medical"], base, f"made-{number}")
        home = gateway.pool.home(base.digest, release.digest)
        assert home is not None
        at.setdefault(home.id, f"made-{number}")
        if len(at) == 2:
            break
    shadow = ShadowTable(adapter=at["plugin"], to=at["stock"])
    gateway.reconfigure(gateway.config.model_copy(update={"shadow": (shadow,)}))

    def ask(**extra: Any) -> None:
        body = {"model": at["plugin"], "prompt": [1, 2, 3], "max_tokens": 1, **extra}
        with running.http() as http:
            assert http.post("/v1/completions", json=body).status_code == 200
        deadline = time.monotonic() + 30
        while gateway.background:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    for extra in ASKING:
        ask(**extra)
        assert extra.items() <= standins["plugin"].bodies[-1].items()
    ask()
    shadowed = [sent for sent in standins["stock"].bodies if "vllm_xargs" not in sent]
    assert len(shadowed) == 1  # and what it can be asked, it is
    assert not any("prompt_logprobs" in sent or sent.get("echo") for sent in shadowed)
