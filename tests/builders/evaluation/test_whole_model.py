"""What only a model that has learnt something shows: turns end, prose is likely, sense common."""

from __future__ import annotations

import math

import pytest
import torch

from adapterworks.builders.data.load import load_source
from adapterworks.builders.data.render import IGNORED, render_prompt
from adapterworks.builders.engines.huggingface import load_model
from adapterworks.builders.evaluation.asking import Asked
from adapterworks.builders.evaluation.predicting import predict
from adapterworks.builders.evaluation.retention import measure
from adapterworks.builders.evaluation.suites import SUITES
from adapterworks.builders.evaluation.suites.suite import Choice, _continuations
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable, RetentionTable
from adapterworks.registry.bases.base import Base
from adapterworks.registry.bases.store import BaseStore
from tests.builders.evaluation.asked import ask_reference
from tests.small_base import MODEL, WHOLE_BASES


@pytest.fixture(scope="module")
def whole() -> Base:
    """SmolLM2-135M-Instruct with all its layers."""
    return BaseStore(WHOLE_BASES).ensure(MODEL)


@pytest.fixture(scope="module")
def generator(whole: Base) -> Asked:
    return ask_reference(whole.served)


def test_answers_are_greedy_and_in_order(generator: Asked, whole: Base) -> None:
    """Every token of a batched, padded answer is the likeliest after its prompt alone."""
    model = load_model(whole.served).eval()
    rows = load_source("icd-10-cm:test", "messages").rows[:3]
    prompts = [row.prompt for row in rows]
    together = generator.generate(prompts, max_new_tokens=5, batch_size=3)
    assert len(set(together)) == 3
    for prompt, answer in zip(prompts, together, strict=True):
        before = render_prompt(generator.tokenizer, prompt)
        ids = before + generator.tokenizer(answer, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            likeliest = model(input_ids=torch.tensor([ids])).logits[0].argmax(dim=-1).tolist()
        assert ids[len(before) :] == likeliest[len(before) - 1 : -1]


def test_an_answer_ends_at_the_end_of_its_turn(generator: Asked) -> None:
    question = {"role": "user", "content": "What is 1 + 1? Answer with one number."}
    (answer,) = generator.generate([(question,)], max_new_tokens=30, batch_size=1)
    assert answer
    assert "<|im_end|>" not in answer
    assert "assistant" not in answer


def test_text_rows_have_a_perplexity_and_nothing_else(generator: Asked) -> None:
    rows = load_source("general:test", "text").rows[:2]
    only = EvaluateTable(metrics=("perplexity",))
    (first, _) = predict(generator, rows, only, max_length=128)
    assert first.tokens > 20
    assert 1.0 < math.exp(first.nll / first.tokens) < 200.0
    with pytest.raises(InvalidInput, match="plain text"):
        predict(generator, rows, EvaluateTable(metrics=("exact_match",)))


def test_retention_scores_the_continuation_only(generator: Asked) -> None:
    choice = Choice("The sky is", ("blue.", "a kind of cheese."), 0)
    for sequence, text in zip(
        _continuations(generator.tokenizer, choice, 0), choice.continuations, strict=True
    ):
        learnt = [label for label in sequence.labels if label != IGNORED]
        assert generator.tokenizer.decode(learnt) == f" {text}"
    scores = generator.likelihood(_continuations(generator.tokenizer, choice, 0), batch_size=2)
    assert scores[0, 0] < scores[1, 0]


@pytest.mark.slow
def test_the_base_knows_some_common_sense(generator: Asked) -> None:
    """HellaSwag above chance says that contexts, choices and normalisation fit together."""
    scores = measure(generator, RetentionTable(suites=("hellaswag",), limit=8))
    assert scores.suites["hellaswag"].mean() > 0.25
    assert 5.0 < scores.perplexity < 60.0


def test_every_suite_has_a_hundred_cases() -> None:
    assert {len(suite.cases()) for suite in SUITES.values()} == {100}
