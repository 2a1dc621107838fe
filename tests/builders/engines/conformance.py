"""What every engine must do, whoever runs it: the definition of the protocol, as checks.

`exercise` is run against Hugging Face on a tiny base, and against the real vLLM.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from adapterworks.builders.engines.engine import Completion, Engine, Given, Ids, Sampling
from adapterworks.manifests.errors import NotFound

# Nats; float32 in another order of sums. Improbable tokens have the largest differences.
TOLERANCE = 2e-3


def exercise(engine: Engine, adapter: str, prompts: Sequence[Ids]) -> None:
    """Every check.

    Args:
        adapter: one it knows, which changes the answers to these prompts.
        prompts: at least three of different lengths, whose answers differ.
    """
    assert len({len(prompt) for prompt in prompts}) >= 3
    alone = answers_do_not_depend_on_each_other(engine, None, prompts)
    adapted = answers_do_not_depend_on_each_other(engine, adapter, prompts)
    assert furthest(adapted, alone) > 10 * TOLERANCE, "the adapter changes nothing"
    again = engine.complete(prompts, Sampling(6))
    assert furthest(again, alone) <= TOLERANCE, "the adapter was left on"
    for subject, answers in ((None, alone), (adapter, adapted)):
        chosen_tokens_are_scored_as_they_were_chosen(engine, subject, prompts, answers)
    given_tokens_are_scored_one_by_one(engine, adapter, prompts[0])
    a_stop_token_ends_an_answer(engine, prompts, alone)
    draws_follow_their_seed(engine, adapter, prompts)
    with pytest.raises(NotFound):
        engine.complete(prompts, Sampling(1), adapter="sha256:" + "f" * 64)


def answers_do_not_depend_on_each_other(
    engine: Engine, adapter: str | None, prompts: Sequence[Ids]
) -> list[tuple[Completion, ...]]:
    """In another order and in other batches the answers are the same; progress reaches the end."""
    seen: list[tuple[int, int]] = []
    together = engine.complete(
        prompts, Sampling(6), adapter=adapter, progress=lambda *step: seen.append(step)
    )
    turned = engine.complete(prompts[::-1], Sampling(6), adapter=adapter, batch_size=2)
    assert ids(turned[::-1]) == ids(together)
    assert seen[-1] == (len(prompts), len(prompts))
    assert seen == sorted(seen)
    for (answer,) in together:
        assert answer.stop == "length"
        assert len(answer.token_ids) == len(answer.logprobs) == 6
        assert max(answer.logprobs) <= 0.0
        assert answer.answer == answer.token_ids
    return together


def chosen_tokens_are_scored_as_they_were_chosen(
    engine: Engine,
    adapter: str | None,
    prompts: Sequence[Ids],
    answers: Sequence[tuple[Completion, ...]],
) -> None:
    """The two halves of the protocol agree: a greedy answer, given back, has its own numbers."""
    given = [
        Given((*prompt, *answer.token_ids), len(prompt))
        for prompt, (answer,) in zip(prompts, answers, strict=True)
    ]
    scored = engine.score(given, adapter=adapter, batch_size=2)
    for (answer,), values in zip(answers, scored, strict=True):
        np.testing.assert_allclose(values, answer.logprobs, atol=TOLERANCE)


def given_tokens_are_scored_one_by_one(engine: Engine, adapter: str, prompt: Ids) -> None:
    """Where scoring begins changes no number; what has no tokens to score has none."""
    whole, tail, nothing = engine.score(
        [
            Given(tuple(prompt), 1),
            Given(tuple(prompt), len(prompt) - 2),
            Given(tuple(prompt), len(prompt)),
        ],
        adapter=adapter,
    )
    assert whole.shape == (len(prompt) - 1,)
    assert nothing.shape == (0,)
    np.testing.assert_allclose(tail, whole[-2:], atol=TOLERANCE)
    assert whole.min() < -1.0, "a prompt is not what the model would have said"


def a_stop_token_ends_an_answer(
    engine: Engine, prompts: Sequence[Ids], answers: Sequence[tuple[Completion, ...]]
) -> None:
    """The first of the stop ids ends it, is its last token, and no part of the answer."""
    (first,) = answers[0]
    stop = first.token_ids[2]
    at = first.token_ids.index(stop)
    ((stopped,), *_) = engine.complete(prompts, Sampling(6, stop=(stop,)))
    assert stopped.stop == "stop"
    assert stopped.token_ids == first.token_ids[: at + 1]
    assert stopped.answer == first.token_ids[:at]
    np.testing.assert_allclose(stopped.logprobs, first.logprobs[: at + 1], atol=TOLERANCE)


def draws_follow_their_seed(engine: Engine, adapter: str, prompts: Sequence[Ids]) -> None:
    """Equal seeds draw the same in other batches; samples and seeds differ among themselves."""
    drawn = Sampling(6, temperature=2.0, top_p=0.99, n=3, seed=7)
    once = engine.complete(prompts[:3], drawn, adapter=adapter)
    again = engine.complete(prompts[:3][::-1], drawn, adapter=adapter, batch_size=2)
    assert ids(again[::-1]) == ids(once)
    assert all(len(samples) == 3 for samples in once)
    assert all(len(set(samples)) > 1 for samples in ids(once))
    other = Sampling(6, temperature=2.0, top_p=0.99, n=3, seed=8)
    assert ids(engine.complete(prompts[:3], other, adapter=adapter)) != ids(once)
    # A seed a prompt: equal prompts are answered differently, and nothing is told by the place.
    twice = [prompts[0], prompts[0], prompts[1]]
    given = Sampling(6, temperature=2.0, n=2, seeds=(1024, 2048, 4096))
    each = engine.complete(twice, given, adapter=adapter)
    assert ids(each)[0] != ids(each)[1]
    turned = Sampling(6, temperature=2.0, n=2, seeds=(4096, 2048, 1024))
    assert ids(engine.complete(twice[::-1], turned, adapter=adapter, batch_size=2)[::-1]) == ids(
        each
    )
    # Log-probabilities are the model's own, whatever it was drawn with.
    chosen_tokens_are_scored_as_they_were_chosen(
        engine, adapter, prompts[:3], [samples[:1] for samples in once]
    )


def ids(answers: Sequence[tuple[Completion, ...]]) -> list[tuple[tuple[int, ...], ...]]:
    """The token ids of all answers."""
    return [tuple(answer.token_ids for answer in samples) for samples in answers]


def furthest(
    some: Sequence[tuple[Completion, ...]], others: Sequence[tuple[Completion, ...]]
) -> float:
    """The largest difference of a log-probability; without bound where other tokens were chosen."""
    if ids(some) != ids(others):
        return float("inf")
    return max(
        float(np.abs(np.subtract(a.logprobs, b.logprobs)).max())
        for mine, theirs in zip(some, others, strict=True)
        for a, b in zip(mine, theirs, strict=True)
    )
