"""A proof keeps the engine busy in slices, so that others' answers need not wait for all of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from adapterworks.gateway.engines.engine import Probe, Scores
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.residency import slices
from adapterworks.gateway.residency.proof import prove
from adapterworks.gateway.residency.slices import FIRST_TOKENS, in_slices
from adapterworks.registry.releases.release import BaseIdentity, Release
from tests.registry.releases import BASE, draft

PROBES = 24
TOKENS = FIRST_TOKENS // 4  # of each: four are the first slice
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

    inflight = 1

    def __init__(self, base: BaseIdentity) -> None:
        self.base = ServedBase(base.model, base.model, base.digest)


class Form:
    """Answers with the fingerprint's own numbers, `seconds` a probe; keeps the slices."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self.slices: list[list[Probe]] = []

    async def score(
        self, engine: object, digest: str, servable: object, probes: Sequence[Probe], salt: str
    ) -> tuple[list[Scores], int]:
        self.slices.append(list(probes))
        self._clock.now += self._seconds * len(probes)
        scores = {int(token): value for token, value in ADAPTER}
        return [scores for probe in probes for _ in probe.positions], len(probes)


def _prove(form: Form, *, inflight: int = 1) -> tuple[Any, list[str]]:
    """A proof of probes with one position each, and what was told meanwhile."""
    release = Release.from_draft(draft(), {})
    probes = [
        {
            "kind": "general",
            "token_ids": [number, *range(1, TOKENS)],
            "positions": [TOKENS - 1],
            "adapter": [ADAPTER],
            "base": [OTHER],
        }
        for number in range(PROBES)
    ]
    fingerprint = {"schema_version": 1, "base_digest": BASE.digest, "probes": probes}
    engine, told = Engine(BASE), []
    engine.inflight = inflight
    content = json.dumps(fingerprint).encode()
    proving = prove(engine, form, release, content, told.append)  # type: ignore[arg-type]
    return asyncio.run(proving), told


@pytest.mark.parametrize("seconds", [0.0, SLICE / 16, SLICE * 2])
def test_every_probe_is_scored_once_in_order(seconds: float, clock: Clock) -> None:
    form = Form(seconds, clock)
    proof, told = _prove(form)
    assert proof.state == "proved"
    assert proof.tokens == PROBES
    together = [probe.token_ids[0] for some in form.slices for probe in some]
    assert together == list(range(PROBES))
    assert len(told) == len(form.slices)
    assert told[-1] == f"proving it, {PROBES} of {PROBES} probes answered"


def test_a_slow_engine_is_kept_by_one_probe_at_a_time(clock: Clock) -> None:
    form = Form(SLICE * 2, clock)
    _prove(form)
    assert [len(some) for some in form.slices] == [4, 2, *[1] * (PROBES - 6)]


def test_a_fast_engine_is_asked_a_few_times_only(clock: Clock) -> None:
    form = Form(0.0, clock)
    _prove(form)
    assert [len(some) for some in form.slices] == [4, 8, 12]


def test_where_nobody_else_is_answered_nobody_has_to_wait(clock: Clock) -> None:
    form = Form(SLICE * 2, clock)
    _prove(form, inflight=0)
    assert [len(some) for some in form.slices] == [PROBES]


@pytest.mark.parametrize(
    ("seconds", "sizes"),
    [
        # Quick: twice as many. Half a slice and up to a whole one: as many again.
        ([0.0, SLICE / 2, SLICE, 0.0], [4, 8, 8, 4]),
        # A hair below half a slice is quick, a hair above a whole one is slow: half as many.
        ([SLICE / 2 - 1 / 64, SLICE + 1 / 64, SLICE], [4, 8, 4, 4, 4]),
        # Never less than one, and twice as much as that where it was quick.
        ([1.0, 1.0, 1.0, 1.0, 0.0], [4, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 1]),
    ],
)
def test_a_slice_is_as_large_as_the_last_one_was_quick(
    seconds: list[float], sizes: list[int], clock: Clock
) -> None:
    took, asked = iter(seconds), []
    probes = [Probe(tuple(range(TOKENS)), (1, 2))] * PROBES

    async def score(some: Sequence[Probe]) -> Any:
        asked.append(len(some))
        clock.now += next(took, 3 * SLICE / 4)
        return [{}] * (2 * len(some)), 10 * len(some)

    scores, tokens = asyncio.run(in_slices(score, probes))
    assert (len(scores), tokens) == (2 * PROBES, 10 * PROBES)
    assert asked == sizes


def test_one_probe_is_asked_however_long_it_is(clock: Clock) -> None:
    asked = []
    probes = [Probe(tuple(range(count * FIRST_TOKENS)), (1,)) for count in (3, 5)]

    async def score(some: Sequence[Probe]) -> Any:
        asked.append(len(some))
        return [{}] * len(some), 1

    asyncio.run(in_slices(score, probes))
    assert asked == [1, 1]
