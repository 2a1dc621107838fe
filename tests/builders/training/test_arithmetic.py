"""Learning rates worked out in the test, and when a training has diverged."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.builders.training.arithmetic import Divergence, learning_rate_at

_RISE = [0.25, 0.5, 0.75, 1.0]
_PART = np.arange(6, dtype=np.float64) / 6  # of the way from warm-up's end to the last step


@pytest.mark.parametrize(
    ("schedule", "after"),
    [
        # ½(1 + cos πx): SGDR (Loshchilov & Hutter 2017), equation 5, one cycle down to 0.
        ("cosine", 0.5 * (1 + np.cos(np.pi * _PART))),
        ("linear", 1 - _PART),
        ("constant", np.ones(6)),
    ],
)
def test_every_steps_learning_rate(schedule: str, after: np.ndarray) -> None:
    """Ten steps, four of them warm-up: the first is not lost on a rate of 0."""
    rates = [learning_rate_at(step, 10, 2e-3, 4, schedule) for step in range(10)]  # type: ignore[arg-type]
    assert rates == pytest.approx([2e-3 * part for part in [*_RISE, *after]], rel=1e-12)


def test_the_cosines_usual_values() -> None:
    rates = [learning_rate_at(step, 6, 1.0, 0, "cosine") for step in range(6)]
    root = math.sqrt(3) / 4
    assert rates == pytest.approx([1.0, 0.5 + root, 0.75, 0.5, 0.25, 0.5 - root], rel=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize(("steps", "warmup"), [(5, 0), (5, 4)])
def test_a_schedule_comes_to_nothing_where_the_training_ends(
    schedule: str, steps: int, warmup: int
) -> None:
    assert learning_rate_at(steps, steps, 1.0, warmup, schedule) == pytest.approx(0.0)  # type: ignore[arg-type]


def test_a_training_that_only_warms_up_ends_at_its_peak() -> None:
    assert [learning_rate_at(step, 4, 1.0, 4, "cosine") for step in range(5)] == [*_RISE, 1.0]


def test_divergence_asks_the_objective_how_far_a_loss_may_rise() -> None:
    losses = [1.0] * 5 + [2.0] * 20
    patient, strict = Divergence(OBJECTIVES["sft"].diverged_above), Divergence(lambda start: 1.5)
    assert [patient.message(loss, 1.0) for loss in losses] == [None] * 25
    said = [strict.message(loss, 1.0) for loss in losses]
    # 1 + (1 − 0.8ⁿ) passes 1.5 with the fourth loss of 2.
    assert said[:8] == [None] * 8
    assert said[8] == "the loss rose from 1 to 1.59"


def test_a_loss_began_at_the_mean_of_its_first_five() -> None:
    asked: list[float] = []

    def bound(start: float) -> float:
        asked.append(start)
        return 1e9

    watch = Divergence(bound)
    for loss in (1.0, 2.0, 6.0, 4.0, 2.5, 100.0):
        assert watch.message(loss, 1.0) is None
    assert asked == [3.1, 3.1], "not before there are five, and no sixth one"
    # 0.8 of what was and 0.2 of what is new: 1, 1.2, 2.16, 2.528, 2.5224, 22.01792.
    assert watch.smoothed == pytest.approx(22.01792, rel=1e-12)


def test_a_loss_that_stays_at_its_bound_has_not_diverged() -> None:
    watch = Divergence(lambda start: start)
    assert [watch.message(1.0, 1.0) for _ in range(9)] == [None] * 9
    assert str(watch.message(1.5, 1.0)).startswith("the loss rose from 1 to 1.1")


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_ends_it_at_once(loss: float) -> None:
    watch = Divergence(lambda start: 1e9)
    assert watch.message(loss, 1.0) == f"the loss is {loss}"
    assert watch.first == []


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_so_does_a_gradient(norm: float) -> None:
    watch = Divergence(lambda start: 1e9)
    assert watch.message(1.0, norm) == f"the gradient norm is {norm}"


def test_a_continued_training_remembers_where_its_loss_began() -> None:
    first = Divergence(lambda start: 1.5)
    for _ in range(5):
        first.message(1.0, 1.0)
    resumed = Divergence(lambda start: 1.5, first.first, first.smoothed)
    assert resumed.message(9.0, 1.0) == "the loss rose from 1 to 2.6"
