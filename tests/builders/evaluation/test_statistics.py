"""The statistics keep their promises: checked by simulation and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from adapterworks.builders.evaluation.metrics import METRICS
from adapterworks.builders.evaluation.statistics import (
    bootstrap,
    bootstrap_p,
    holm,
    interval,
    mcnemar_p,
    resample_weights,
)

mean = METRICS["exact_match"].aggregate


def test_resamples_draw_as_many_rows_as_there_are_and_repeat_by_seed() -> None:
    weights = resample_weights(50, 300, seed=7)
    assert weights.shape == (300, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert (weights == resample_weights(50, 300, seed=7)).all()
    assert (weights != resample_weights(50, 300, seed=8)).any()
    assert weights.mean() == 1.0
    assert weights.var() == pytest.approx(1 - 1 / 50, abs=0.05)  # multinomial


def test_coverage_of_the_paired_interval_by_simulation() -> None:
    """A 90 % interval of a true gain of 0.1 holds it in about 90 % of 400 simulated evaluations."""
    generator = np.random.default_rng(3)
    held = wide = 0
    for trial in range(400):
        luck = generator.random(200)  # a row's difficulty, shared by both systems: paired
        before = (luck < 0.5).astype(float).reshape(-1, 1)
        noise = generator.random(200) < 0.3
        after = np.where(noise, generator.random(200) < 0.6 + 0.1 / 0.3 - 0.1, luck < 0.5)
        after = after.astype(float).reshape(-1, 1)
        true_gain = 0.3 * (0.6 + 0.1 / 0.3 - 0.1) - 0.3 * 0.5
        weights = resample_weights(200, 400, seed=trial)
        gains = bootstrap(after, mean, weights) - bootstrap(before, mean, weights)
        bounds = interval(gains, 0.90)
        held += bounds.low <= true_gain <= bounds.high
        unpaired = bootstrap(after, mean, weights) - bootstrap(
            before, mean, resample_weights(200, 400, seed=trial + 1000)
        )
        wide += np.ptp(unpaired) > np.ptp(gains)
    assert 0.86 <= held / 400 <= 0.94
    assert wide > 380  # pairing is what makes the interval narrow


def test_no_difference_is_rarely_called_one() -> None:
    generator = np.random.default_rng(5)
    false_alarms = 0
    for trial in range(400):
        before, after = generator.normal(size=(2, 100, 1))
        weights = resample_weights(100, 400, seed=trial)
        p = bootstrap_p(bootstrap(after, mean, weights) - bootstrap(before, mean, weights))
        false_alarms += p < 0.05
    assert false_alarms / 400 < 0.09
    assert bootstrap_p(np.zeros(100)) == 1.0
    assert bootstrap_p(np.ones(999)) == pytest.approx(0.002)


def test_mcnemar_is_the_exact_binomial_on_what_changed() -> None:
    before = np.array([0.0] * 12 + [1.0] * 3 + [1.0] * 50)
    after = np.array([1.0] * 12 + [0.0] * 3 + [1.0] * 50)
    assert mcnemar_p(before, after) == pytest.approx(stats.binomtest(3, 15).pvalue)
    assert mcnemar_p(after, before) == pytest.approx(mcnemar_p(before, after))
    assert mcnemar_p(before, before) == 1.0


def test_holm_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
