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
    mean_gain_interval,
    ratio_interval,
    resample_groups,
    resample_weights,
    share_interval,
    sign_p,
    widened,
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


def test_every_row_is_drawn_as_often_as_any_other() -> None:
    """4,000 draws of 5 rows each: a row's mean is 1, give or take √(0.8 / 4000) = 0.014."""
    drawn = resample_weights(5, 4000, seed=2).mean(axis=0)
    assert drawn == pytest.approx([1.0] * 5, abs=0.06)


@pytest.mark.parametrize(
    ("worse", "same", "better", "p"),
    [
        (1, 0, 18, 0.2),  # 2 · (1 + 1) / (19 + 1)
        (18, 0, 1, 0.2),
        (0, 2, 17, 0.3),  # a resample without any gain counts against it: 2 · (2 + 1) / 20
        (17, 2, 0, 0.3),
        (0, 0, 19, 0.1),  # never 0: 2 · (0 + 1) / 20
        (19, 0, 0, 0.1),
        (9, 0, 10, 1.0),  # 2 · (9 + 1) / 20
        (8, 4, 7, 1.0),
    ],
)
def test_a_bootstrap_p_is_twice_the_smaller_tail(
    worse: int, same: int, better: int, p: float
) -> None:
    """The sizes of gains do not matter, nor their order."""
    gains = np.array([-0.01] * worse + [0.0] * same + [0.3] * better)
    assert bootstrap_p(gains) == pytest.approx(p)
    assert bootstrap_p(gains[::-1]) == pytest.approx(p)


def test_an_interval_leaves_half_of_the_rest_on_each_side() -> None:
    """Of 0, 1, …, 100 the 5th and 95th percentiles are 5 and 95."""
    values = np.arange(101.0)
    bounds = interval(values, 0.9)
    assert (bounds.low, bounds.high) == pytest.approx((5.0, 95.0))
    bounds = interval(values[::-1], 0.5)
    assert (bounds.low, bounds.high) == pytest.approx((25.0, 75.0))


def test_mcnemar_counts_what_became_right_and_what_became_wrong() -> None:
    """1 gained, 5 lost of 6 that changed: 2 · (1 + 6) / 64; a half is neither right nor wrong."""
    before = np.array([0.0, 1.0, 1.0, 0.9, 0.6, 1.0, 1.0, 0.0, 0.5, 0.5, 1.0, 0.0])
    after = np.array([1.0, 0.0, 0.0, 0.1, 0.4, 0.0, 1.0, 0.0, 1.0, 0.0, 0.5, 0.5])
    assert mcnemar_p(before, after) == pytest.approx(14 / 64)
    assert mcnemar_p(after, before) == pytest.approx(14 / 64)
    gained, lost = np.array([0.0, 1.0]), np.array([1.0, 0.0])
    assert mcnemar_p(gained, lost) == 1.0  # one of each
    assert mcnemar_p(np.zeros(1), np.ones(1)) == 1.0  # 2 · 1 / 2
    assert mcnemar_p(np.zeros(4), np.ones(4)) == pytest.approx(2 / 16)


def test_mcnemar_is_the_exact_binomial_on_what_changed() -> None:
    before = np.array([0.0] * 12 + [1.0] * 3 + [1.0] * 50)
    after = np.array([1.0] * 12 + [0.0] * 3 + [1.0] * 50)
    assert mcnemar_p(before, after) == pytest.approx(stats.binomtest(3, 15).pvalue)
    assert mcnemar_p(after, before) == pytest.approx(mcnemar_p(before, after))
    assert mcnemar_p(before, before) == 1.0


@pytest.mark.parametrize("count", [5, 10, 20])
def test_a_share_of_few_rows_is_within_its_interval_as_often_as_it_says(count: int) -> None:
    """Worked out exactly over every number of right rows, for shares from 0.5 % to 99.5 %."""
    bounds = [share_interval(np.repeat([1.0, 0.0], [k, count - k]), 0.95) for k in range(count + 1)]
    for share in np.linspace(0.005, 0.995, 100):
        held = [one.low <= share <= one.high for one in bounds]
        assert stats.binom.pmf(np.arange(count + 1), count, share) @ held > 0.93
    assert bounds[count].high == 1.0
    assert bounds[count].low < 0.9, "rows that all agree are not sure"
    assert (bounds[0].low, bounds[0].high) == pytest.approx((0.0, 1 - bounds[count].low))


def test_rows_of_one_group_count_once_in_a_share_and_in_a_sign_test() -> None:
    """6 groups of two rows each: 5 gained, 1 lost, as if the second row were not there."""
    once = np.array([1.0, 1.0, 1.0, 1.0, 1.0, -1.0])
    twice, groups = np.repeat(once, 2), np.repeat(np.arange(6.0), 2)
    assert sign_p(once) == pytest.approx(stats.binomtest(1, 6).pvalue)
    assert sign_p(twice, groups) == sign_p(once)
    assert sign_p(twice) < sign_p(once)
    assert sign_p(np.array([1.0, -1.0, 1.0]), np.array([0.0, 0.0, 1.0])) == 1.0  # a tie, and a gain
    bounds = share_interval((once + 1) / 2, 0.9)
    assert share_interval((twice + 1) / 2, 0.9, groups) == bounds
    assert share_interval((twice + 1) / 2, 0.9).low > bounds.low


def test_holm_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("rows", [20, 50, 200])
def test_the_interval_of_a_gain_covers_it(rows: int) -> None:
    """Right and wrong answers: exact sums over all outcomes, no simulation (docs/log.md).

    At 95 % at least 94.5 % of evaluations hold the true gain, and at least 96.5 % have a lower
    bound at or below it, from no gain to one of 95 points, whatever is lost beside.
    """
    gained, lost = (grid.ravel() for grid in np.meshgrid(*[np.arange(rows + 1)] * 2))
    possible = gained + lost <= rows
    outcomes = [*zip(gained[possible].tolist(), lost[possible].tolist(), strict=True)]
    bounds = [
        mean_gain_interval(np.repeat([1.0, -1.0, 0.0], [b, c, rows - b - c]), 0.95)
        for b, c in outcomes
    ]
    low, high = (np.array([getattr(bound, side) for bound in bounds]) for side in ("low", "high"))
    counts = np.array([[b, c, rows - b - c] for b, c in outcomes])
    for gain in (0.0, 0.02, 0.1, 0.2, 0.5, 0.8, 0.95):
        for loss in (0.0, 0.01, 0.05, 0.2, 0.45):
            if gain + 2 * loss > 1:
                continue
            chances = stats.multinomial.pmf(counts, rows, [gain + loss, loss, 1 - gain - 2 * loss])
            assert chances[(low <= gain) & (gain <= high)].sum() >= 0.945, (gain, loss)
            assert chances[low <= gain].sum() >= 0.965, (gain, loss)


def test_few_rows_that_agree_are_not_sure() -> None:
    assert mean_gain_interval(np.ones(1), 0.99).low == -1
    assert mean_gain_interval(np.ones(3), 0.95).low < 0
    assert (
        mean_gain_interval(np.zeros(50), 0.95).low < 0 < mean_gain_interval(np.ones(50), 0.95).low
    )
    assert mean_gain_interval(3 * np.ones(50), 0.95).low > 2  # of any unit
    assert widened(interval(np.ones(9), 0.9), 1.0, 0.9, 1).low == -1


def test_a_percentile_interval_is_wider_for_few_rows() -> None:
    """5 rows at 95 %: 2.7764 / 1.96 · √(5 / 4) = 1.5838 times as far from the value."""
    from adapterworks.builders.evaluation.statistics import Interval

    bounds = widened(Interval(0.5, 2.0), 1.0, 0.95, 5)
    assert (bounds.low, bounds.high) == pytest.approx((1 - 0.5 * 1.5838, 1 + 1.5838), abs=1e-3)


def test_the_interval_of_a_ratio_is_that_of_a_mean_and_of_its_sizes() -> None:
    """Rows of one size: Student's, 2 ± 12.7062 · √2 / √2 for 1 and 3. Rows that all have the same
    ratio, whatever their sizes: no width. One row: nothing."""
    bounds = ratio_interval(np.array([1.0, 3.0]), np.ones(2), 0.95)
    assert (bounds.low, bounds.high) == pytest.approx((2 - 12.7062, 2 + 12.7062), abs=1e-3)
    bounds = ratio_interval(np.array([1.0, 30.0, 0.5]), np.array([2.0, 60.0, 1.0]), 0.95)
    assert (bounds.low, bounds.high) == pytest.approx((0.5, 0.5))
    alone = ratio_interval(np.array([0.2]), np.array([7.0]), 0.95)
    assert (alone.low, alone.high) == (-1.0, 1.0)


def test_rows_of_one_group_are_one_draw() -> None:
    """Twenty copies of each of five rows say as much as the five."""
    five = np.array([1.0, 0.0, 1.0, 0.0, 1.0])
    alone = mean_gain_interval(five, 0.95)
    copies = mean_gain_interval(np.repeat(five, 20), 0.95, np.repeat(np.arange(5.0), 20))
    assert (copies.low, copies.high) == pytest.approx((alone.low, alone.high))
    assert mean_gain_interval(np.repeat(five, 20), 0.95).low > alone.low
    drawn = resample_groups(np.repeat(np.arange(5.0), 2), 50, 1)
    assert (drawn[:, ::2] == drawn[:, 1::2]).all()
    assert (drawn.sum(axis=1) == 10).all()
