"""Kahneman–Tversky optimization: TRL's loss and gradients, the estimate of a step, its rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from adapterworks.builders.data.formats.format import to_rows
from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.data.sources import Record
from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.objectives.objective import Loss, Objective
from adapterworks.builders.objectives.scores import Scores
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.objective import objective_table
from tests.builders.objectives import trl_reward
from tests.builders.workshop import Workshop

GOOD = [True, False, True, True, False]
LENGTHS, OTHERS = (3, 1, 4, 2, 5), (2, 4, 1, 3, 2)
Given = list[list[torch.Tensor]]


def kto(**settings: Any) -> Objective:
    table = objective_table("kto").model_validate({"kind": "kto", **settings})
    return OBJECTIVES["kto"].configured(table)


@pytest.fixture(params=[1.0, -1.0], ids=["moved", "not moved"])
def given(request: pytest.FixtureRequest) -> Given:
    """Log-probabilities of answers and of other rows' answers, under policy and reference; the
    estimate is above 0, and below it, where it counts as 0."""
    generator = torch.Generator().manual_seed(11)

    def tokens(lengths: tuple[int, ...], scale: float) -> list[torch.Tensor]:
        return [-scale * torch.rand(n, generator=generator, dtype=torch.float64) for n in lengths]

    others = tokens(OTHERS, 1.0)
    return [
        [one.requires_grad_() for one in tokens(LENGTHS, 3.0)],
        tokens(LENGTHS, 2.0),
        others,
        [one - 0.4 * request.param for one in others],
    ]


def measured(given: Given, **settings: Any) -> Loss:
    policy, reference, others, before = given
    objective = kto(**settings)

    def scores(own: list[torch.Tensor], held: list[torch.Tensor], **more: Any) -> Scores:
        owners = torch.tensor([i for i, one in enumerate(own) for _ in one])
        columns = {"reference": torch.cat(held)}
        good = {"good": torch.tensor(GOOD, dtype=torch.float64)}
        return Scores(torch.cat(own), owners, len(own), columns, good, **more)

    found = objective.beforehand(scores(others, before))
    step = {name: float(value) / len(GOOD) for name, value in found.items()}
    return objective.losses(scores(policy, reference, beforehand=step))


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.0, 2.5), (1.5, 0.5)])
def test_the_loss_and_every_gradient_are_trls(given: Given, weights: tuple[float, float]) -> None:
    own = measured(given, beta=0.3, good_weight=weights[0], bad_weight=weights[1])
    policy, reference, others, before = given
    theirs = trl_reward.kto(policy, reference, GOOD, others, before, beta=0.3, weights=weights)
    assert own.count == len(GOOD)
    assert own.sum.item() / own.count == pytest.approx(theirs.item(), abs=1e-6)
    mine = torch.autograd.grad(own.sum / own.count, policy)
    for one, other in zip(mine, torch.autograd.grad(theirs, policy), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_what_is_told_is_by_hand() -> None:
    """β = 1, estimate 0.5: a good answer gained 1 (above), a bad one gained 0.8 (wrongly above)."""
    scores = Scores(
        torch.tensor([-1.0, -1.2]),
        torch.tensor([0, 1]),
        2,
        {"reference": torch.tensor([-2.0, -2.0])},
        {"good": torch.tensor([1.0, 0.0])},
        beforehand={"kl": 0.5},
    )
    found = kto(beta=1.0).losses(scores)
    expected = (1 - 1 / (1 + 2.718281828459045**-0.5)) + (1 - 1 / (1 + 2.718281828459045**0.3))
    assert float(found.sum) == pytest.approx(expected, rel=1e-6)
    assert float(found.metrics["reward_accuracy"]) == 1
    assert float(found.metrics["margin"]) == pytest.approx(0.5 - 0.3)
    assert float(found.metrics["kl"]) == pytest.approx(2 * 0.5)


def judged(number: int, good: float) -> Row:
    return Row(chat(f"q{number}", f"a{number}").messages, {"row": number}, scores=(good,))


def test_an_answer_stands_beside_another_rows(tiny: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    rows = [judged(0, 1.0), judged(1, 0.0), judged(2, 1.0)]
    examples = kto().encode(tokenizer, rows, 64, "completion")

    def texts(example: Any) -> list[tuple[str, str]]:
        return [
            (
                tokenizer.decode([i for i, k in zip(s.input_ids, s.labels, strict=True) if k < 0]),
                tokenizer.decode([label for label in s.labels if label != IGNORED]),
            )
            for s in example.sequences
        ]

    for number, example in enumerate(examples):
        (asked, own), (again, other) = texts(example)
        assert asked == again
        assert f"q{number}" in asked
        assert f"a{number}" in own
        assert f"a{(number + 1) % 3}" in other
        assert [s.values["good"] for s in example.sequences] == [rows[number].scores[0]] * 2
        assert (example.count, example.row) == (1, number)


@pytest.mark.parametrize(
    ("asked", "others"),
    [
        ("aabc", (2, 2, 3, 0)),  # good and bad answers to one prompt stand side by side
        ("abca", (1, 2, 3, 1)),  # the last and the first
        ("aaba", (2, 2, 3, 2)),
        ("aaab", (3, 3, 3, 0)),
    ],
)
def test_the_other_answer_is_to_another_prompt(
    tiny: Path, asked: str, others: tuple[int, ...]
) -> None:
    """An answer to the same prompt would be as likely as the policy makes it, not by chance."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    rows = [
        Row(chat(f"q{prompt}", f"a{number}").messages, {}, scores=(number % 2,))
        for number, prompt in enumerate(asked)
    ]
    found = []
    for example in kto().encode(tokenizer, rows, 64, "completion"):
        labels = example.sequences[1].labels
        found.append(tokenizer.decode([label for label in labels if label != IGNORED]))
    for text, other in zip(found, others, strict=True):
        assert f"a{other}" in text


def test_a_comparison_is_a_good_and_a_bad_answer(tiny: Path) -> None:
    from transformers import AutoTokenizer

    rows = [
        Row(chat(f"q{n}", f"a{n}").messages, others=(({"role": "assistant", "content": "b"},),))  # type: ignore[arg-type]
        for n in range(2)
    ]
    examples = kto().encode(AutoTokenizer.from_pretrained(tiny), rows, 64, "completion")
    assert [example.sequences[0].values["good"] for example in examples] == [1.0, 0.0] * 2
    assert [example.row for example in examples] == [0, 0, 1, 1]


def test_rows_that_judge_nothing_are_refused(tiny: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    for rows in ([judged(0, 1.0)], [judged(0, 1.0)] * 3):
        with pytest.raises(InvalidInput, match="there is one prompt"):
            kto().encode(tokenizer, rows, 64, "completion")
    with pytest.raises(InvalidInput, match=r"row 1 is judged 0\.5"):
        kto().encode(tokenizer, [judged(0, 1.0), judged(1, 0.5)], 64, "completion")
    with pytest.raises(InvalidInput, match="a judged answer, whose judgement would be ignored"):
        OBJECTIVES["sft"].require([judged(0, 1.0)])


def test_labels_are_read_as_truth_values() -> None:
    def read(label: Any) -> Row:
        record = Record(1, {"prompt": "Fever", "completion": "R50.9", "label": label})
        return to_rows([record], "unpaired-preference", source="rows.jsonl")[0]

    assert [read(label).scores for label in (True, False, 1, 0)] == [(1.0,), (0.0,)] * 2
    assert read(True).kind == "judged"
    for odd in ("yes", None, 2, 1.0):
        with pytest.raises(InvalidInput, match="`label` must be true or false"):
            read(odd)


@pytest.mark.train
def test_the_estimate_is_of_the_step_however_it_is_cut(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Micro batches of 1 and of 8 end with the same losses; the estimate moves away from 0."""
    for split, count, start in (("train", 24, 0), ("validation", 6, 100)):
        rows = (
            {
                "prompt": f"code of case {n}?",
                "completion": f"A{n % 7}" if n % 3 else f"B{n % 5}!",
                "label": bool(n % 3),
            }
            for n in range(start, start + count)
        )
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (workshop.folder / f"judged-{split}.jsonl").write_text(text)
    path = Path(workshop.manifest(epochs=3, rate=2e-2, more='[objective]\nkind = "kto"\n'))
    text = path.read_text().replace("[data]\n", '[data]\nformat = "unpaired-preference"\n')
    for split in ("train", "validation"):
        text = text.replace(f'"{split}.jsonl"', f'"judged-{split}.jsonl"')
    path.write_text(text.replace('test = "test.jsonl"\n', ""))
    told: list[list[dict[str, Any]]] = []
    for size in (1, 8):
        built = workshop.json(str(path), "--set", f"train.micro_batch_size={size}", "--force")
        lines = workshop.registry().read(built["digest"], "training.jsonl").decode().splitlines()
        told.append([e for e in map(json.loads, lines) if e["event"] == "step"])
    assert told[0][0]["kl"] == 0.0
    assert told[0][0]["loss"] == pytest.approx(0.5, abs=1e-6)
    assert any(step["kl"] > 0.01 for step in told[0]), "the estimate never counted"
    for one, other in zip(*told, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=2e-4)
        assert one["kl"] == pytest.approx(other["kl"], abs=2e-3)
    assert told[0][-1]["reward_accuracy"] > 0.9
