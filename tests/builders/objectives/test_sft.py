"""Supervised fine-tuning as a pure function: sums, counts, weights of turns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.objectives.examples import Example
from adapterworks.builders.objectives.scores import Scores
from tests.builders.objectives import formulas

SFT = OBJECTIVES["sft"]


@pytest.fixture(scope="module")
def byte_tokenizer(tiny: Any) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(tiny)


def talk(*weights: float | None) -> Row:
    """A question and an answer for each weight; None leaves it out."""
    turns: list[Any] = []
    for number, weight in enumerate(weights):
        answer = {"role": "assistant", "content": f"answer {number}"}
        turns.append({"role": "user", "content": f"q{number}"})
        turns.append(answer if weight is None else answer | {"weight": weight})
    return Row(tuple(turns))


def learnt(tokenizer: PreTrainedTokenizerBase, example: Example) -> str:
    labels = example.sequences[0].labels
    return tokenizer.decode([label for label in labels if label != -100])


@pytest.mark.parametrize("weighted", [False, True])
def test_sum_and_count_are_the_formulas(weighted: bool) -> None:
    generator = np.random.default_rng(1)
    rows = [-generator.random(n) for n in (3, 1, 7)]
    weights = [generator.random(len(row)) if weighted else np.ones(len(row)) for row in rows]
    owners = torch.tensor([i for i, row in enumerate(rows) for _ in row])
    columns = {"weights": torch.tensor(np.concatenate(weights))} if weighted else {}
    loss = SFT.losses(Scores(torch.tensor(np.concatenate(rows)), owners, 3, columns))
    expected = formulas.sft(rows, weights)
    assert (float(loss.sum), loss.count) == pytest.approx(expected, rel=1e-12)


def test_an_example_counts_its_supervised_tokens(byte_tokenizer: PreTrainedTokenizerBase) -> None:
    one, other = SFT.encode(byte_tokenizer, [chat("q", "ab"), chat("q", "abcd")], 64, "completion")
    assert (one.count, other.count) == (one.supervised, other.supervised) == (3.0, 5.0)
    (text,) = SFT.encode(byte_tokenizer, [Row(text="abcd")], 64, "all")
    assert text.count == text.supervised - 1, "nothing stands before the first token"


def test_a_turn_without_weight_is_not_learnt(byte_tokenizer: PreTrainedTokenizerBase) -> None:
    rows = [talk(0.0, None), talk(None, 0.0), talk(None, None)]
    first, last, both = SFT.encode(byte_tokenizer, rows, 256, "completion")
    assert learnt(byte_tokenizer, first) == "answer 1</s>"
    assert learnt(byte_tokenizer, last) == "answer 0</s>"
    assert learnt(byte_tokenizer, both) == "answer 0</s>answer 1</s>"
    # The ids are what inference sees, whatever is learnt of them, and without the weight.
    assert first.sequences[0].input_ids == both.sequences[0].input_ids
    assert all(not example.sequences[0].columns for example in (first, last, both))
    (everything,) = SFT.encode(byte_tokenizer, rows[:1], 256, "all")
    assert "answer 0" not in learnt(byte_tokenizer, everything)
    assert "answer 1" in learnt(byte_tokenizer, everything)


def test_other_weights_are_a_column_of_every_example(
    byte_tokenizer: PreTrainedTokenizerBase,
) -> None:
    half, plain = SFT.encode(byte_tokenizer, [talk(0.5, 2.0), talk(None)], 256, "completion")
    (sequence,) = half.sequences
    weights = sequence.columns["weights"]
    assert len(weights) == len(sequence.input_ids)
    by_turn = [w for w, label in zip(weights, sequence.labels, strict=True) if label != -100]
    assert by_turn == [0.5] * 9 + [2.0] * 9
    assert half.count == 9 * 0.5 + 9 * 2.0
    assert {*plain.sequences[0].columns["weights"]} == {1.0}
    assert plain.count == 9


def test_weights_that_are_all_equal_change_nothing() -> None:
    values = torch.tensor([-1.0, -2.0, -0.5])
    owners = torch.tensor([0, 0, 1])
    plain = SFT.losses(Scores(values, owners, 2))
    same = SFT.losses(Scores(values, owners, 2, {"weights": torch.full((3,), 0.25)}))
    assert float(same.sum) / same.count == pytest.approx(float(plain.sum) / plain.count)


def test_a_stage_has_the_fields_own_name() -> None:
    assert SFT.describe("conversation") == "instruction tuning"
    assert SFT.describe("document") == "continued pre-training"


def test_smoothed_labels_are_those_of_transformers() -> None:
    """`LabelSmoother`, with the mean over the tokens as its divisor."""
    from transformers.trainer_pt_utils import LabelSmoother

    logits = torch.randn(1, 6, 11, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([[-100, 3, -100, 0, 10, 4]])
    expected = LabelSmoother(0.2)({"logits": logits}, labels.clone())
    kept = labels[0] != -100
    words = torch.log_softmax(logits[0][kept], dim=-1)
    own = words.gather(1, labels[0][kept][:, None])[:, 0]
    scores = Scores(own, torch.zeros(4, dtype=torch.long), 1, uniform=words.mean(dim=-1))
    smoothed = SFT.configured(SFT.table(kind="sft"))
    smoothed.smoothing = 0.2
    loss = smoothed.losses(scores)
    assert float(loss.sum) / loss.count == pytest.approx(float(expected), rel=1e-6)
    assert float(loss.metrics["nll"]) == pytest.approx(-float(own.sum()))
    assert SFT.losses(scores).metrics == {}
