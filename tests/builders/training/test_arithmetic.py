"""When a training has diverged: the objective says from where on."""

from __future__ import annotations

from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.training.arithmetic import Divergence


def test_divergence_asks_the_objective_how_far_a_loss_may_rise() -> None:
    losses = [1.0] * 5 + [2.0] * 20
    patient, strict = Divergence(OBJECTIVES["sft"].diverged_above), Divergence(lambda start: 1.5)
    assert [patient.message(loss, 1.0) for loss in losses] == [None] * 25
    said = [strict.message(loss, 1.0) for loss in losses]
    # 1 + (1 − 0.8ⁿ) passes 1.5 with the fourth loss of 2.
    assert said[:8] == [None] * 8
    assert said[8] == "the loss rose from 1 to 1.59"


def test_a_continued_training_remembers_where_its_loss_began() -> None:
    first = Divergence(lambda start: 1.5)
    for _ in range(5):
        first.message(1.0, 1.0)
    resumed = Divergence(lambda start: 1.5, first.first, first.smoothed)
    assert resumed.message(9.0, 1.0) == "the loss rose from 1 to 2.6"
