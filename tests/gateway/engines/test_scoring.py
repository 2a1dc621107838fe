"""What an engine's answer to a probe is read as."""

from __future__ import annotations

import asyncio
import json
from math import inf
from typing import Any

import pytest

from adapterworks.gateway.engines.client import HttpEngine
from adapterworks.gateway.engines.engine import Probe
from adapterworks.gateway.engines.scoring import AskedOnce, NoScores, of_answers
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.manifests.errors import Unavailable


class Told(HttpEngine):
    """An engine that answers every probe with the same text."""

    def __init__(self, text: str) -> None:
        super().__init__(
            "one", ServedBase("b", "b", "sha256:b"), slots=1, capacity=1, parallel=1,
            forms=frozenset(), key=None, request_seconds=1.0,
        )  # fmt: skip
        self.text, self.asked = text, 0

    async def _admin(self, path: str, body: dict[str, Any]) -> tuple[int, str]:
        self.asked += 1
        await asyncio.sleep(0)
        return 200, self.text


async def test_a_prompts_own_token_counts_only_among_the_likeliest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told whatever its rank; a token that is not listed counts as the least likely one."""
    told = [
        None,
        {"7": {"logprob": -19.0, "rank": 900}, "5": {"logprob": -0.5, "rank": 1}},
        {"8": {"logprob": -2.0, "rank": 20}, "5": {"logprob": -0.1, "rank": 1}},
    ]
    answer = {"choices": [{"index": 0, "prompt_logprobs": told}], "usage": {"total_tokens": 4}}

    engine = Told(json.dumps(answer))

    async def yes() -> bool:
        return True

    monkeypatch.setattr(engine, "can_score_prompts", yes)
    scores, tokens = await engine.score({"model": "m"}, [Probe((6, 7, 8), (1, 2))])
    assert scores == [{5: -0.5}, {8: -2.0, 5: -0.1}]
    assert tokens == 4


def _scored(positions: int = 2, at: dict[str, Any] | None = None, **usage: Any) -> dict[str, Any]:
    at = {"7": {"logprob": -0.5, "rank": 1}} if at is None else at
    return {"choices": [{"index": 0, "prompt_logprobs": [None, *[at] * positions]}], **usage}


@pytest.mark.parametrize(
    "answer",
    [
        {}, [], "no", 5, None,
        {"choices": []},
        {"choices": [5]},
        _scored(),
        _scored(usage=None),
        _scored(usage={"total_tokens": "many"}),
        _scored(usage={"total_tokens": 9}, positions=1),
        _scored(usage={"total_tokens": 9}, positions=3),
        _scored(usage={"total_tokens": 9}, at={}),
        _scored(usage={"total_tokens": 9}, at={"7": {"logprob": -9.0, "rank": 21}}),
        _scored(usage={"total_tokens": 9}, at={"7": {"logprob": float("nan"), "rank": 1}}),
        _scored(usage={"total_tokens": float("inf")}),
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_no_answer_to_a_probe_is_an_engine_that_is_away(answer: Any) -> None:
    """Not a fault of ours, and no judgement on what it can."""
    engine = Told(json.dumps(answer))
    for _ in range(2):
        with pytest.raises(Unavailable, match="probe"):
            await engine.can_score_prompts()
    assert engine.asked == 2


async def test_half_a_text_is_no_answer_either() -> None:
    with pytest.raises(Unavailable, match="is no completion"):
        await Told('{"choices": [').can_score_prompts()


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": [{"index": 0}], "usage": {"total_tokens": 1}},
        {"choices": [{"index": 0, "logprobs": {"top_logprobs": [{"token_id:5": -1.0}]}}]},
        {
            "choices": [{"index": 0, "logprobs": {"top_logprobs": [{"token_id:5": -1.0}]}}],
            "usage": {"total_tokens": 1},
        },
    ],
    ids=str,
)
async def test_nor_is_one_to_a_probe_by_ordinary_generations(answer: Any) -> None:
    engine = Told(json.dumps(answer))
    assert not await engine.can_score_prompts()
    with pytest.raises(Unavailable, match="probe"):
        await engine.score({"model": "m"}, [Probe((6, 7, 8), (1, 2))])


@pytest.mark.parametrize("at", [{}, {"token_id:5": -inf}])
def test_scores_that_cannot_be_compared_are_none(at: dict[str, float]) -> None:
    good = {"token_id:5": -1.0}
    tops = [{"index": i, "logprobs": {"top_logprobs": [one]}} for i, one in enumerate((good, at))]
    with pytest.raises(NoScores, match="no log-probabilities"):
        of_answers({"choices": tops, "usage": {"total_tokens": 2}}, 2)


async def test_a_probe_gives_nobody_tokens_back() -> None:
    """What a proof cost is charged to whoever asked: less than nothing is nothing."""
    engine = Told(json.dumps(_scored(usage={"total_tokens": -9})))
    _, tokens = await engine.score({"model": "m"}, [Probe((3, 4, 5), (1, 2))])
    assert tokens == 0


async def test_many_who_want_to_know_ask_once() -> None:
    engine = Told(json.dumps(_scored(usage={"total_tokens": 9})))
    leaving = asyncio.create_task(engine.can_score_prompts())
    asking = [asyncio.create_task(engine.can_score_prompts()) for _ in range(50)]
    await asyncio.sleep(0)
    leaving.cancel()
    assert await asyncio.gather(*asking) == [True] * 50
    assert await engine.can_score_prompts()
    assert engine.asked == 1


async def test_what_failed_is_asked_again_and_what_may_have_changed_too() -> None:
    told: list[Any] = [Unavailable("away"), True, False]
    release = asyncio.Event()

    async def ask() -> bool:
        await release.wait()
        answer = told.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    once = AskedOnce(ask)
    both = [asyncio.create_task(once()) for _ in range(2)]
    await asyncio.sleep(0)
    release.set()
    found = await asyncio.gather(*both, return_exceptions=True)
    assert [type(one) for one in found] == [Unavailable, Unavailable]
    assert [await once(), await once()] == [True, True]
    once.forget()
    assert [await once(), await once()] == [False, False]
