"""Schedules: step by step those of transformers, with a floor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from adapterworks.builders.schedules import SCHEDULES
from adapterworks.builders.training.arithmetic import learning_rate_at

STEPS, WARMUP, PEAK = 40, 8, 2e-3


def theirs(make: Callable[[Any], Any]) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    schedule = make(optimizer)
    rates = []
    for _ in range(STEPS):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return rates


def ours(name: str, floor: float = 0.0, decay_ratio: float = 0.25) -> list[float]:
    return [
        learning_rate_at(step, STEPS, PEAK, WARMUP, name, floor, decay_ratio)
        for step in range(STEPS)
    ]


@pytest.mark.parametrize(("name", "floor"), [("cosine", 0.1), ("wsd", 0.1), ("wsd", 0.0)])
def test_it_falls_as_that_of_transformers(name: str, floor: float) -> None:
    from transformers import optimization

    def make(optimizer: Any) -> Any:
        if name == "cosine":
            return optimization.get_cosine_with_min_lr_schedule_with_warmup(
                optimizer, WARMUP, STEPS, min_lr_rate=floor
            )
        return optimization.get_wsd_schedule(
            optimizer,
            num_warmup_steps=WARMUP,
            num_decay_steps=8,
            num_stable_steps=24,
            decay_type="1-sqrt",
            min_lr_ratio=floor,
        )

    # Its warm-up begins at zero and ours a step later; from the peak on they are one.
    assert ours(name, floor)[WARMUP:] == pytest.approx(theirs(make)[WARMUP:], rel=1e-6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_it_begins_at_the_peak_and_ends_at_the_floor(name: str) -> None:
    schedule = SCHEDULES[name]
    assert schedule.fall(0.0, 0.2) == 1.0
    assert schedule.fall(1.0, 0.2) == pytest.approx(0.0 if schedule.falls else 1.0)
    end = learning_rate_at(STEPS, STEPS, PEAK, WARMUP, name, 0.3, 0.2)
    assert end == pytest.approx(PEAK * (0.3 if schedule.falls else 1.0))
    falls = [schedule.fall(step / 100, 0.2) for step in range(101)]
    assert falls == sorted(falls, reverse=True)


def test_the_stable_part_is_stable() -> None:
    rates = ours("wsd", decay_ratio=0.25)
    assert set(rates[WARMUP:32]) == {PEAK}
    assert rates[33] < PEAK
    assert ours("wsd", decay_ratio=0.0)[-1] == PEAK
