"""Scores of a prompt are asked only of an engine that has them: others would end, for everybody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapterworks.gateway.config.tables import LimitsTable
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Start
from tests.registry.releases import publish

ASKING = ({"prompt_logprobs": 1}, {"echo": True, "logprobs": 0}, {"prompt_logprobs": 0})


@pytest.mark.parametrize("model", ["medical", "smollm2-135m-instruct"])
def test_an_engine_that_cannot_score_prompts_is_not_asked_to(
    start: Start, standin: StandIn, registry: Registry, base: Base, tmp_path: Path, model: str
) -> None:
    """A stock engine: it answers a probe without the scores that are asked for."""
    publish(registry, tmp_path, 1, name="medical", alias="prod", base=base.identity)
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
    publish(registry, tmp_path, 1, name="medical", alias="prod", base=base.identity)
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
    publish(registry, tmp_path, 1, name="medical", alias="prod", base=base.identity)
    with start(limits=LimitsTable(rpm=1)).http() as http:
        body: dict[str, Any] = {"model": "medical", "prompt": "one", "max_tokens": 1}
        assert http.post("/v1/completions", json=body).status_code == 200
        before = len(standin.bodies)
        answer = http.post("/v1/completions", json={**body, "prompt_logprobs": 1})
        assert answer.status_code == 429
    assert len(standin.bodies) == before
