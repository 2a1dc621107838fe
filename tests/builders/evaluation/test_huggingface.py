"""A base through the real generator: order, ends, likelihoods, the adapter switched off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, get_peft_model
from transformers import PreTrainedModel

from adapterworks.builders.data.load import load_source
from adapterworks.builders.data.render import IGNORED, Encoded, encode_rows
from adapterworks.builders.data.rows import Row
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.engines.huggingface import batches, load_model
from adapterworks.builders.engines.session import Subject
from adapterworks.builders.evaluation.asking import Asked, asked
from adapterworks.builders.evaluation.evaluate import evaluate_generators
from adapterworks.manifests.evaluate_tables import EvaluateTable, RetentionTable
from adapterworks.registry.bases.base import Base
from tests.builders.evaluation.asked import ask_reference, subject_of

TABLE = EvaluateTable(metrics=("exact_match", "perplexity"), max_new_tokens=4, batch_size=4)


@pytest.fixture(scope="module")
def generator(base: Base) -> Asked:
    return ask_reference(base.served)


@pytest.fixture(scope="module")
def model(base: Base) -> PreTrainedModel:
    return load_model(base.served).eval()


@pytest.fixture(scope="module")
def rows() -> tuple[Row, ...]:
    return load_source("icd-10-cm:test", "messages").rows[:4]


def test_batches_are_by_length_and_complete() -> None:
    assert batches([3, 9, 5, 9, 1], 2) == [[1, 3], [2, 0], [4]]


def test_likelihood_equals_the_models_own_loss(
    generator: Asked, model: PreTrainedModel, rows: tuple[Row, ...]
) -> None:
    encoded = encode_rows(generator.tokenizer, rows, 256)
    scored = generator.likelihood(encoded, batch_size=4)
    for sequence, (nll, tokens) in zip(encoded, scored, strict=True):
        labels = torch.tensor([sequence.labels])
        with torch.inference_mode():
            loss = model(input_ids=torch.tensor([sequence.input_ids]), labels=labels).loss
        assert tokens == sum(label != IGNORED for label in sequence.labels)
        assert nll / tokens == pytest.approx(float(loss), rel=1e-4)


def test_a_sequence_of_one_token_scores_nothing(generator: Asked) -> None:
    assert generator.likelihood([Encoded([5], [5])], batch_size=1).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("kind", ["lora", "prefix"])
def test_base_and_adapter_through_one_engine(
    base: Base, rows: tuple[Row, ...], generator: Asked, kind: str, tmp_path: Path
) -> None:
    """One engine answers as the base alone, with the adapter, and as the base alone again."""
    config = (
        LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
        if kind == "lora"
        else PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    )
    adapted = get_peft_model(load_model(base.served), config)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.2 if kind == "lora" else 2.0)
    adapted.save_pretrained(tmp_path)
    encoded = encode_rows(generator.tokenizer, rows, 256)
    alone = generator.likelihood(encoded, batch_size=6)
    prompts = [row.prompt for row in rows[:2]]
    answers = generator.generate(prompts, max_new_tokens=4, batch_size=2)

    subject = subject_of(base.served, tmp_path)
    session = Engines().session("huggingface", [subject], tokens=0)
    both = {"off": Subject(subject.model), "on": subject}
    off, on = (begin() for begin in asked(session, both).values())
    for _ in range(2):
        np.testing.assert_array_equal(off.likelihood(encoded, batch_size=6), alone)
        assert off.generate(prompts, max_new_tokens=4, batch_size=2) == answers
        assert abs(on.likelihood(encoded, batch_size=6) - alone).max() > 0.5
        assert on.generate(prompts, max_new_tokens=4, batch_size=2) != answers


def test_the_same_model_against_itself_gains_nothing(
    generator: Asked, rows: tuple[Row, ...]
) -> None:
    seen: list[tuple[str, int, int]] = []
    table = TABLE.model_copy(
        update={"retention": RetentionTable(on=True, limit=1, max_perplexity_increase=0.01)}
    )
    evaluation = evaluate_generators(
        {"base": lambda: generator, "candidate": lambda: generator},
        rows[:2],
        table,
        progress=lambda *step: seen.append(step),
    )
    assert evaluation.report["metrics"]["perplexity"]["gains"]["base"]["gain"] == 0.0
    retention = evaluation.report["retention"]
    assert retention["rows"] == {"perplexity": 1, "hellaswag": 1, "truthfulqa": 1}
    assert retention["perplexity"]["increase"] == 0.0
    (only,) = evaluation.gates
    assert not only.passed
    assert "too few rows to show" in only.why
    assert {subject for subject, _, _ in seen} == {"base", "candidate"}
