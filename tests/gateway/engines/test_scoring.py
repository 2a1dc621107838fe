"""What an engine's answer to a probe is read as."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapterworks.gateway.engines.client import HttpEngine
from adapterworks.gateway.engines.engine import Probe
from adapterworks.gateway.engines.target import ServedBase


async def test_a_prompts_own_token_counts_only_among_the_likeliest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told whatever its rank; a token that is not listed counts as the least likely one."""
    engine = HttpEngine(
        "one", ServedBase("b", "b", "sha256:b"), slots=1, capacity=1, parallel=1,
        forms=frozenset(), key=None, request_seconds=1.0,
    )  # fmt: skip
    told = [
        None,
        {"7": {"logprob": -19.0, "rank": 900}, "5": {"logprob": -0.5, "rank": 1}},
        {"8": {"logprob": -2.0, "rank": 20}, "5": {"logprob": -0.1, "rank": 1}},
    ]
    answer = {"choices": [{"index": 0, "prompt_logprobs": told}], "usage": {"total_tokens": 4}}

    async def admin(path: str, body: dict[str, Any]) -> tuple[int, str]:
        return 200, json.dumps(answer)

    monkeypatch.setattr(engine, "_admin", admin)
    monkeypatch.setattr(engine, "_scores_prompts", True)
    scores, tokens = await engine.score({"model": "m"}, [Probe((6, 7, 8), (1, 2))])
    assert scores == [{5: -0.5}, {8: -2.0, 5: -0.1}]
    assert tokens == 4
