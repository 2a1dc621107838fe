"""What only a model that has learnt something shows: turns end, prose is likely, sense common."""

from __future__ import annotations

import math

import pytest

from adapterworks.builders.data.load import load_source
from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.evaluation.asking import Asked
from adapterworks.builders.evaluation.evaluate import predict
from adapterworks.builders.evaluation.retention import measure
from adapterworks.builders.evaluation.suites import SUITES
from adapterworks.builders.evaluation.suites.suite import Choice, _continuations
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import EvaluateTable, RetentionTable
from adapterworks.registry.bases.store import BaseStore
from tests.builders.evaluation.asked import ask_reference
from tests.small_base import MODEL, WHOLE_BASES


@pytest.fixture(scope="module")
def generator() -> Asked:
    """SmolLM2-135M-Instruct with all its layers."""
    return ask_reference(BaseStore(WHOLE_BASES).ensure(MODEL).served)


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
    choice = Choice("The sky is", (" blue.", " a kind of cheese."), 0)
    for sequence, text in zip(
        _continuations(generator.tokenizer, choice, 0), choice.continuations, strict=True
    ):
        learnt = [label for label in sequence.labels if label != IGNORED]
        assert generator.tokenizer.decode(learnt) == text
    scores = generator.likelihood(_continuations(generator.tokenizer, choice, 0), batch_size=2)
    assert scores[0, 0] < scores[1, 0]


@pytest.mark.slow
def test_the_base_knows_some_common_sense(generator: Asked) -> None:
    """HellaSwag above chance says that contexts, choices and normalisation fit together."""
    scores = measure(generator, RetentionTable(suites=("hellaswag",), limit=8))
    assert scores.suites["hellaswag"] > 0.25
    assert 5.0 < scores.perplexity < 60.0


def test_every_suite_has_a_hundred_cases() -> None:
    assert {len(suite.cases()) for suite in SUITES.values()} == {100}
