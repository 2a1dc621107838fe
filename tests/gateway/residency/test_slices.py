"""A proof keeps the engine busy in slices, so that others' answers need not wait for all of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from adapterworks.gateway.engines.engine import Scores
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.residency.proof import prove
from adapterworks.gateway.residency.slices import SLICE_SECONDS
from adapterworks.registry.releases.release import BaseIdentity, Release
from tests.registry.releases import BASE, draft

PROMPTS = 24
ADAPTER, OTHER = [[1, -0.1], [2, -3.0]], [[1, -3.0], [2, -0.1]]


class Engine:
    """As much of an engine as a proof looks at."""

    def __init__(self, base: BaseIdentity) -> None:
        self.base = ServedBase(base.model, base.model, base.digest)


class Form:
    """Answers with the fingerprint's own numbers, `seconds` a prompt; keeps the slices."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.slices: list[list[list[int]]] = []

    async def score(
        self, engine: object, digest: str, servable: object, prompts: Sequence[list[int]], salt: str
    ) -> tuple[list[Scores], int]:
        self.slices.append(list(prompts))
        await asyncio.sleep(self._seconds * len(prompts))
        return [{int(token): value for token, value in ADAPTER} for _ in prompts], len(prompts)


def _prove(form: Form) -> Any:
    release = Release.from_draft(draft(), {})
    probe = {
        "kind": "general",
        "token_ids": [5, 6, 7, 8],
        "positions": [1, 2, 3],
        "adapter": [ADAPTER] * 3,
        "base": [OTHER] * 3,
    }
    fingerprint = {
        "schema_version": 1,
        "base_digest": BASE.digest,
        "probes": [probe] * (PROMPTS // 3),
    }
    proving = prove(Engine(BASE), form, release, json.dumps(fingerprint).encode())  # type: ignore[arg-type]
    return asyncio.run(proving)


@pytest.mark.parametrize("seconds", [0.0, SLICE_SECONDS / 20, SLICE_SECONDS * 1.1])
def test_every_prompt_is_scored_once_in_order(seconds: float) -> None:
    form = Form(seconds)
    proof = _prove(form)
    assert proof.state == "proved"
    assert proof.tokens == PROMPTS
    together = [prompt for some in form.slices for prompt in some]
    assert together == [[5], [5, 6], [5, 6, 7]] * (PROMPTS // 3)


def test_a_slow_engine_is_kept_by_one_prompt_at_a_time() -> None:
    form = Form(SLICE_SECONDS * 1.1)
    _prove(form)
    assert {len(some) for some in form.slices} == {1}


def test_a_fast_engine_is_asked_a_few_times_only() -> None:
    form = Form(0.0)
    _prove(form)
    assert [len(some) for some in form.slices] == [1, 2, 4, 8, 9]
