"""Reward models: the loss against TRL's and by hand, what a verdict is, and a release of one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapterworks.builders.data.render import IGNORED, render_prompt
from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.data.verdict import QUESTION
from adapterworks.builders.evaluation.evaluate import evaluate
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.builders.evaluation.needs import check_test_rows
from adapterworks.builders.evaluation.predicting import predict
from adapterworks.builders.evaluation.recorded import evaluate_again
from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.objectives.batch import TokenSequence, padded
from adapterworks.builders.objectives.objective import Loss, Objective
from adapterworks.builders.objectives.scores import Scores
from adapterworks.builders.objectives.scoring import score
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable
from adapterworks.manifests.objective import objective_table
from tests.builders.building.test_origins import pairs
from tests.builders.objectives import trl_reward
from tests.builders.workshop import Workshop

TABLE = EvaluateTable(
    metrics=("verdict_accuracy", "verdict_loss", "verdict_calibration"), bootstrap_samples=200
)


def reward(**settings: Any) -> Objective:
    table = objective_table("reward").model_validate({"kind": "reward", **settings})
    return OBJECTIVES["reward"].configured(table)


def pair(number: int, **meta: Any) -> Row:
    rejected = ({"role": "assistant", "content": f"no {number}"},)
    return Row(chat(f"q{number}", f"a{number}").messages, meta, others=(rejected,))  # type: ignore[arg-type]


GIVEN: tuple[list[float], ...] = (
    # log p(yes) and log p(no) of chosen and rejected in turn; the second pair is ranked wrongly
    [-0.2, -1.5, -2.0, -0.7, -0.4, -0.3],
    [-1.8, -0.4, -0.3, -0.9, -1.4, -1.1],
)
MARGINS = [0.5, 1.0, 0.0]


def measured(good: torch.Tensor, bad: torch.Tensor, **settings: Any) -> Loss:
    margins = torch.tensor([m for m in MARGINS for _ in range(2)]) * settings.get("margin", 0.0)
    scores = Scores(good, torch.arange(6), 6, {"contrast": bad}, {"margin": margins})
    return reward(**settings).losses(scores)


@pytest.mark.parametrize(
    "settings", [{}, {"margin": 1.0}, {"center": 0.01}, {"margin": 0.5, "center": 0.2}]
)
def test_the_loss_and_its_gradients_are_trls(settings: dict[str, float]) -> None:
    good, bad = (torch.tensor(part, dtype=torch.float64, requires_grad=True) for part in GIVEN)
    own = measured(good, bad, **settings)
    rewards = good - bad
    margins = torch.tensor(MARGINS) * settings["margin"] if "margin" in settings else None
    theirs = trl_reward.reward(rewards[::2], rewards[1::2], margins, settings.get("center", 0.0))
    assert own.count == 3
    assert own.sum.item() / own.count == pytest.approx(theirs.item(), abs=1e-6)
    mine = torch.autograd.grad(own.sum / own.count, (good, bad))
    for one, other in zip(mine, torch.autograd.grad(theirs, (good, bad)), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_rewards_and_their_order_are_told() -> None:
    """Rewards: 1.6, −1.1 · −1.7, 0.2 · 1.0, 0.8."""
    good, bad = (torch.tensor(part) for part in GIVEN)
    found = measured(good, bad)
    assert found.metrics["reward_accuracy"] == 2
    assert float(found.metrics["reward_chosen"]) == pytest.approx(1.6 - 1.7 + 1.0)
    assert float(found.metrics["reward_rejected"]) == pytest.approx(-1.1 + 0.2 + 0.8)
    assert float(found.metrics["margin"]) == pytest.approx(2.7 - 1.9 + 0.2)
    expected = sum(math.log1p(math.exp(-m)) for m in (2.7, -1.9, 0.2))
    assert float(found.sum) == pytest.approx(expected, rel=1e-6)


def test_a_verdict_is_what_a_chat_would_be_asked(tiny: Path) -> None:
    """The ids up to the verdict are those of the rendered conversation; only the verdict has a
    label, and what it is weighed against is the other verdict's token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    (example,) = reward().encode(tokenizer, [pair(3)], 256, "completion")
    assert example.count == 1
    for sequence, answer in zip(example.sequences, ("a3", "no 3"), strict=True):
        turns: Any = [
            {"role": "user", "content": "q3"},
            {"role": "assistant", "content": answer},
            {"role": "user", "content": QUESTION},
        ]
        prompt = render_prompt(tokenizer, turns)
        yes, no = (tokenizer(text, add_special_tokens=False).input_ids[0] for text in ("yes", "no"))
        assert sequence.input_ids == [*prompt, yes]
        assert sequence.labels == [IGNORED] * len(prompt) + [yes]
        assert sequence.columns["contrast"] == [0.0] * len(prompt) + [float(no)]
    # The question comes on top of what a row may have: an answer that fits is not cut for it.
    (short,) = reward().encode(tokenizer, [pair(3)], len(prompt) - 60, "completion")
    assert [one.input_ids for one in short.sequences] == [
        one.input_ids for one in example.sequences
    ]


def test_margins_are_read_where_they_are_asked_for(tiny: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny)
    (example,) = reward(margin=2.0).encode(tokenizer, [pair(3, margin=1.5)], 256, "completion")
    assert [one.values["margin"] for one in example.sequences] == [3.0, 3.0]
    (plain,) = reward().encode(tokenizer, [pair(3, margin=1.5)], 256, "completion")
    assert plain.sequences[0].values["margin"] == 0.0
    for bad in (None, "2", True, math.nan):
        with pytest.raises(InvalidInput, match="row 1 has no number in its column `margin`"):
            reward(margin=1.0).encode(tokenizer, [pair(3, margin=bad)], 256, "completion")


def test_what_is_weighed_against_a_label_is_scored_with_its_gradient(tiny: Path) -> None:
    """log p of the label and of the other token at one place, from one forward pass."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny)
    sequences = [
        TokenSequence(
            torch.tensor(ids),
            torch.tensor([IGNORED] * (len(ids) - 1) + ids[-1:]),
            {"contrast": torch.tensor([0.0] * (len(ids) - 1) + [other])},
        )
        for ids, other in (([5, 6, 7], 9.0), ([8, 4, 3, 6, 11], 12.0))
    ]
    found = score(model, padded(sequences, 0))
    for place, (ids, other) in enumerate((([5, 6], (7, 9)), ([8, 4, 3, 6], (11, 12)))):
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        assert found.logprobs[place].item() == pytest.approx(logits[other[0]].item(), abs=1e-5)
        assert found.columns["contrast"][place].item() == pytest.approx(
            logits[other[1]].item(), abs=1e-5
        )
    found.columns["contrast"].sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_accuracy_loss_and_calibration_by_hand() -> None:
    """Distances of 2, 2, 2, −2: σ(2) = 0.8808 sure each time, three of four right; in another bin
    one of 0.2, σ = 0.5498, which is right."""
    rows = [pair(n) for n in range(5)]
    verdicts = [2.0, 2.0, 2.0, -2.0, 0.2]
    predictions = {
        "candidate": [Prediction(verdict=value) for value in verdicts],
        "base": [Prediction(verdict=0.0) for _ in verdicts],
    }
    told = evaluate(rows, predictions, TABLE)
    values = {name: entry["values"] for name, entry in told.report["metrics"].items()}
    assert values["verdict_accuracy"] == {"candidate": 0.8, "base": 0.0}
    nats = [math.log1p(math.exp(-v)) for v in verdicts]
    assert values["verdict_loss"]["candidate"] == pytest.approx(sum(nats) / 5)
    assert values["verdict_loss"]["base"] == pytest.approx(math.log(2))
    sure, unsure = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-0.2))
    expected = (abs(3 - 4 * sure) + (1 - unsure)) / 5
    assert values["verdict_calibration"]["candidate"] == pytest.approx(expected)
    assert values["verdict_calibration"]["base"] == pytest.approx(0.5)
    gains = told.report["metrics"]["verdict_loss"]["gains"]["base"]
    assert gains["gain"] == pytest.approx(math.log(2) - sum(nats) / 5), "less is better"
    # Judged again from what was written down, without asking.
    again = evaluate_again(rows, told.report, told.predictions_jsonl(), TABLE, seed=42)
    assert again is not None
    assert again.report["metrics"] == told.report["metrics"]


def test_verdicts_are_asked_of_both_answers_with_both_words(tiny: Path) -> None:
    from transformers import AutoTokenizer

    class Says:
        """yes to a…: 1 nat, no: 3 nats; yes to no…: 2.5 nats, no: 0.5."""

        tokenizer = AutoTokenizer.from_pretrained(tiny)

        def likelihood(self, sequences: Any, **_: Any) -> Any:
            texts = [self.tokenizer.decode(s.input_ids) for s in sequences]
            first = {s.input_ids[-1]: None for s in sequences}
            yes = next(iter(first))
            nats = [
                (1.0 if s.input_ids[-1] == yes else 3.0)
                if "a4" in text
                else (2.5 if s.input_ids[-1] == yes else 0.5)
                for s, text in zip(sequences, texts, strict=True)
            ]
            assert all(s.labels[-1] == s.input_ids[-1] for s in sequences)
            return np.asarray([(value, 1.0) for value in nats])

    (found,) = predict(Says(), [pair(4)], TABLE)  # type: ignore[arg-type]
    assert found.verdict == (3.0 - 1.0) - (0.5 - 2.5)
    with pytest.raises(InvalidInput, match="test row 1 has one answer"):
        check_test_rows(Says.tokenizer, [chat("q", "a")], TABLE, 64)


@pytest.mark.train
def test_a_reward_release_ranks_what_it_was_not_shown(workshop: Workshop) -> None:
    """From a manifest to a release that says what it is, with accuracy and calibration gated."""
    path = Path(pairs(workshop, more='[objective]\nkind = "reward"\n', epochs=6, rate=2e-2))
    text = path.read_text().replace(
        '["preference_accuracy", "preference_margin"]',
        '["verdict_accuracy", "verdict_loss", "verdict_calibration"]',
    )
    text = text.replace("max_length = 64", "max_length = 160").replace(
        "[serve]",
        '[[evaluate.gates]]\nmetric = "verdict_accuracy"\nmin_gain = -1.0\n[serve]',
    )
    path.write_text(text)
    built = workshop.json(str(path))
    values = {name: entry["values"] for name, entry in built["report"]["metrics"].items()}
    assert values["verdict_accuracy"]["candidate"] >= 5 / 6, values
    assert values["verdict_loss"]["candidate"] < values["verdict_loss"]["base"]
    (gate,) = built["report"]["gates"]
    assert "verdict_accuracy" in gate["why"]
    registry = workshop.registry()
    assert registry.release(built["digest"]).provenance.objective == "reward"
    card = registry.read(built["digest"], "README.md").decode()
    assert "log p(yes) − log p(no) of the first token is the answer's reward" in card
    lines = registry.read(built["digest"], "training.jsonl").decode().splitlines()
    steps = [e for e in map(json.loads, lines) if e["event"] == "step"]
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=0.1)
    assert steps[-1]["reward_accuracy"] > 0.7
