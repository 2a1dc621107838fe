"""The policy of before the first step, asked after it: what sampled answers are compared with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adapterworks.builders.training.loop import Trainer
from tests.builders.training.sampled import sampled_job, scripted

ANSWERS = ["A0", "A1", "no", "nothing"]
INDICES = [0, 2, 4, 6]


def columns(trainer: Trainer, name: str) -> list[torch.Tensor]:
    """What a column of the examples is that the scripted answers come to now."""
    assert trainer.rollouts is not None
    found = trainer.rollouts.collect(trainer.rows["train"], INDICES, 0).rows
    assert len(found) == 16
    return [example[0].columns[name] for example in found.examples]


@pytest.mark.train
@pytest.mark.parametrize("kind", ["lora", "adalora", "prefix-tuning"])
def test_answers_are_held_near_the_policy_of_before_the_first_step(
    tiny: Path, tmp_path: Path, kind: str
) -> None:
    """And so is a training that was killed after its first evaluation. `start` is the default."""
    made = sampled_job(
        tiny, tmp_path, kind=kind, objective={"beta": 0.1, "max_mismatch": 9.0}, learning_rate=0.05
    )
    trainer, _ = scripted(made, ANSWERS)
    began = columns(trainer, "old")
    assert all(map(torch.equal, columns(trainer, "reference"), began))
    first = trainer._step(INDICES)
    assert first.metrics["kl"] == pytest.approx(0.0, abs=1e-6)
    trainer._step(INDICES)
    learnt = columns(trainer, "old")
    assert (
        max(float((one - two).abs().max()) for one, two in zip(learnt, began, strict=True)) > 0.02
    )
    assert all(map(torch.equal, columns(trainer, "reference"), began))
    assert all(map(torch.equal, columns(trainer, "old"), learnt)), "it is the policy again"
    assert trainer._step(INDICES).metrics["kl"] > 1e-5
    trainer._save()
    again, _ = scripted(made, ANSWERS)
    assert not all(map(torch.equal, columns(again, "old"), began))
    assert all(map(torch.equal, columns(again, "reference"), began))


@pytest.mark.train
def test_the_base_is_the_base_at_every_step(tiny: Path, tmp_path: Path) -> None:
    made = sampled_job(
        tiny, tmp_path, objective={"beta": 0.1, "reference": "base"}, learning_rate=0.05
    )
    trainer, _ = scripted(made, ANSWERS)
    began = columns(trainer, "reference")
    trainer._step(INDICES)
    assert all(map(torch.equal, columns(trainer, "reference"), began))
