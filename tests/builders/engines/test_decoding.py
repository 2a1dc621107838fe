"""Rows that have ended are let go, and nobody's answer is another one for it."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.builders.engines.decoding import answers
from adapterworks.builders.engines.engine import Completion, Sampling
from adapterworks.builders.engines.huggingface import evaluating, load_model
from adapterworks.registry.bases.store import BaseStore
from tests.small_base import MODEL, SMALL_BASES

PROMPTS = [tuple(range(50 + 7 * row, 58 + 7 * row + row % 5)) for row in range(12)]


@pytest.fixture(scope="module")
def model() -> Any:
    return load_model(BaseStore(SMALL_BASES).ensure(MODEL).served)


def decoded(model: Any, sampling: Sampling, *, divide: bool) -> tuple[list[Completion], int]:
    """The answers, and how many tokens went through the model for them."""
    seen = 0

    def count(module: Any, arguments: Any) -> None:
        nonlocal seen
        seen += arguments[0].numel()

    hook = model.get_input_embeddings().register_forward_pre_hook(count)
    try:
        with evaluating(model):
            rows = [(prompt, 0) for prompt in PROMPTS]
            return answers(model, rows, sampling, divide=divide), seen
    finally:
        hook.remove()


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_what_is_answered_does_not_depend_on_who_has_ended(model: Any, temperature: float) -> None:
    free = Sampling(max_tokens=24, stop=(), temperature=temperature, seed=3)
    whole, _ = decoded(model, free, divide=False)
    stop = _ending([answer.token_ids for answer in whole])
    sampling = Sampling(max_tokens=24, stop=stop, temperature=temperature, seed=3)
    one, tokens_of_one = decoded(model, sampling, divide=False)
    other, tokens_of_other = decoded(model, sampling, divide=True)
    lengths = [len(answer.token_ids) for answer in one]
    assert len(set(lengths)) > 3
    assert [answer.token_ids for answer in other] == [answer.token_ids for answer in one]
    assert [answer.stop for answer in other] == [answer.stop for answer in one]
    for before, after in zip(one, other, strict=True):
        assert after.logprobs == pytest.approx(before.logprobs, abs=1e-4)
    prompts = len(PROMPTS) * max(map(len, PROMPTS))
    assert tokens_of_one == prompts + len(PROMPTS) * (max(lengths) - 1)
    assert tokens_of_other == prompts + _computed(lengths) - len(PROMPTS)
    assert tokens_of_other < tokens_of_one


def _ending(rows: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Ids that end the rows after different numbers of tokens, as many as are found in turn."""
    stop: set[int] = set()
    for token in sorted({token for row in rows for token in row}):
        if _different(rows, stop | {token}) > _different(rows, stop):
            stop.add(token)
    return tuple(sorted(stop))


def _different(rows: list[tuple[int, ...]], stop: set[int]) -> int:
    return len({next((at for at, t in enumerate(row) if t in stop), len(row)) for row in rows})


def _computed(lengths: list[int]) -> int:
    """Tokens that are decoded: in stretches, each until half of its rows have ended."""
    computed, done, live = 0, 0, sorted(lengths)
    while live:
        until = live[(len(live) - 1) // 2] if len(live) >= 4 else live[-1]
        computed += len(live) * (until - done)
        done, live = until, [length for length in live if length > until]
    return computed
