"""Rows that have ended are let go, and nobody's answer is another one for it."""

from __future__ import annotations

from collections import Counter
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
    # Ids that end the rows one after the other, as answers of different lengths do.
    often = Counter(token for answer in whole for token in set(answer.token_ids[2:]))
    stop = tuple(token for token, _ in often.most_common(6))
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
    assert tokens_of_other - prompts < 0.8 * (tokens_of_one - prompts)
