"""A proof keeps the engine busy in slices, so that others' answers need not wait for all of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from adapterworks.gateway.engines.engine import Scores
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.residency import slices
from adapterworks.gateway.residency.proof import prove
from adapterworks.gateway.residency.slices import in_slices
from adapterworks.registry.releases.release import BaseIdentity, Release
from tests.registry.releases import BASE, draft

PROMPTS = 24
SLICE = 0.25  # seconds; a power of two, so that every sum here is exact
ADAPTER, OTHER = [[1, -0.1], [2, -3.0]], [[1, -3.0], [2, -0.1]]


class Clock:
    """Seconds, which pass only while an engine scores."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(slices, "time", clock)
    monkeypatch.setattr(slices, "SLICE_SECONDS", SLICE)
    return clock


class Engine:
    """As much of an engine as a proof looks at."""

    def __init__(self, base: BaseIdentity) -> None:
        self.base = ServedBase(base.model, base.model, base.digest)


class Form:
    """Answers with the fingerprint's own numbers, `seconds` a prompt; keeps the slices."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self.slices: list[list[list[int]]] = []

    async def score(
        self, engine: object, digest: str, servable: object, prompts: Sequence[list[int]], salt: str
    ) -> tuple[list[Scores], int]:
        self.slices.append(list(prompts))
        self._clock.now += self._seconds * len(prompts)
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


@pytest.mark.parametrize("seconds", [0.0, SLICE / 16, SLICE * 2])
def test_every_prompt_is_scored_once_in_order(seconds: float, clock: Clock) -> None:
    form = Form(seconds, clock)
    proof = _prove(form)
    assert proof.state == "proved"
    assert proof.tokens == PROMPTS
    together = [prompt for some in form.slices for prompt in some]
    assert together == [[5], [5, 6], [5, 6, 7]] * (PROMPTS // 3)


def test_a_slow_engine_is_kept_by_one_prompt_at_a_time(clock: Clock) -> None:
    form = Form(SLICE * 2, clock)
    _prove(form)
    assert {len(some) for some in form.slices} == {1}


def test_a_fast_engine_is_asked_a_few_times_only(clock: Clock) -> None:
    form = Form(0.0, clock)
    _prove(form)
    assert [len(some) for some in form.slices] == [1, 2, 4, 8, 9]


@pytest.mark.parametrize(
    ("seconds", "sizes"),
    [
        # Quick: twice as many. Half a slice and up to a whole one: as many again.
        ([0.0, 0.0, SLICE / 2, SLICE, 0.0], [1, 2, 4, 4, 4, 8, 1]),
        # A hair below half a slice is quick, a hair above a whole one is slow: half as many.
        ([0.0, SLICE / 2 - 1 / 64, SLICE + 1 / 64, SLICE], [1, 2, 4, 2, 2, 4, 8, 1]),
        # Never less than one.
        ([0.0, 1.0, 1.0, 1.0, 0.0], [1, 2, 1, 1, 1, 2, 4, 8, 4]),
    ],
)
def test_a_slice_is_as_large_as_the_last_one_was_quick(
    seconds: list[float], sizes: list[int], clock: Clock
) -> None:
    took, asked = iter(seconds), []

    async def score(prompts: Any) -> Any:
        asked.append(len(prompts))
        clock.now += next(took, 0.0)
        return [{}] * len(prompts), 10 * len(prompts)

    scores, tokens = asyncio.run(in_slices(score, [[1]] * PROMPTS))
    assert (len(scores), tokens) == (PROMPTS, 10 * PROMPTS)
    assert asked == sizes
