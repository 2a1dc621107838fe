"""The statistics keep their promises: checked by simulation and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation import statistics
from adapterworks.builders.evaluation.comparison import Comparison, compare
from adapterworks.builders.evaluation.metrics import METRICS
from adapterworks.builders.evaluation.metrics.metric import Floats, Prediction
from adapterworks.builders.evaluation.statistics import (
    Interval,
    bootstrap,
    holm,
    interval,
    mcnemar_p,
    mean_gain_interval,
    mean_gain_p,
    ratio_interval,
    resample_weights,
    resampled,
    share_interval,
    sign_p,
    widened,
    widened_p,
)

mean = METRICS["exact_match"].aggregate


def drawn_of(rows: int, samples: int, seed: int) -> Floats:
    """How often each row is drawn, as `resampled` draws them."""
    return resample_weights(np.random.Generator(np.random.PCG64(seed)), rows, samples)


def test_resamples_draw_as_many_rows_as_there_are_and_repeat_by_seed() -> None:
    weights = drawn_of(50, 300, 7)
    assert weights.shape == (300, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert (weights == drawn_of(50, 300, 7)).all()
    assert (weights != drawn_of(50, 300, 8)).any()
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
        weights = drawn_of(200, 400, trial)
        gains = bootstrap(after, mean, weights) - bootstrap(before, mean, weights)
        bounds = interval(gains, 0.90)
        held += bounds.low <= true_gain <= bounds.high
        unpaired = bootstrap(after, mean, weights) - bootstrap(
            before, mean, drawn_of(200, 400, trial + 1000)
        )
        wide += np.ptp(unpaired) > np.ptp(gains)
    assert 0.86 <= held / 400 <= 0.94
    assert wide > 380  # pairing is what makes the interval narrow


def test_no_difference_is_rarely_called_one() -> None:
    generator = np.random.default_rng(5)
    false_alarms = 0
    for trial in range(400):
        before, after = generator.normal(size=(2, 100, 1))
        weights = drawn_of(100, 400, trial)
        gains = bootstrap(after, mean, weights) - bootstrap(before, mean, weights)
        false_alarms += widened_p(gains, float((after - before).mean()), 100) < 0.05
    assert false_alarms / 400 < 0.08
    assert widened_p(np.zeros(100), 0.0, 50) == 1.0


def test_every_row_is_drawn_as_often_as_any_other() -> None:
    """4,000 draws of 5 rows each: a row's mean is 1, give or take √(0.8 / 4000) = 0.014."""
    drawn = drawn_of(5, 4000, 2).mean(axis=0)
    assert drawn == pytest.approx([1.0] * 5, abs=0.06)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 10, 40])
@pytest.mark.parametrize("seed", range(4))
def test_p_and_interval_of_a_gain_never_contradict_each_other(rows: int, seed: int) -> None:
    """Whatever the gains: at 1 − p the interval just touches 0."""
    generator = np.random.default_rng([rows, seed])
    gains = generator.normal(0.3 * seed, 0.5, rows)
    groups = np.arange(rows) // 2.0 if seed % 2 else None
    p = mean_gain_p(gains, groups)
    for confidence in (0.5, 0.8, 0.95, 0.999):
        bounds = mean_gain_interval(gains, confidence, groups)
        assert (bounds.low > 0 or bounds.high < 0) == (p < 1 - confidence)
    drawn = np.array([generator.choice(gains, rows).mean() for _ in range(500)])
    p = widened_p(drawn, float(gains.mean()), rows)
    for confidence in (0.5, 0.8, 0.9):
        bounds = widened(interval(drawn, confidence), float(gains.mean()), confidence, rows)
        clear = bounds.low > 0 or bounds.high < 0
        # A floor may forbid p what the interval would allow, and never the other way round.
        assert clear or p >= 1 - confidence - 1e-6


def test_few_rows_that_all_gain_show_little() -> None:
    """Three rows that each gain a quarter: the chance that three coins fall alike is a quarter."""
    three = np.full(3, 0.25)
    assert mean_gain_p(three) > 0.25
    assert mean_gain_p(np.ones(1)) == 1.0
    assert mean_gain_p(np.zeros(20)) == 1.0
    assert widened_p(np.full(2000, 0.25), 0.25, 3) >= 0.25
    assert widened_p(np.full(2000, 0.25), 0.25, 1) == 1.0
    assert mean_gain_p(np.full(200, 0.25)) < 0.01
    assert widened_p(np.full(2000, 0.25), 0.25, 200) == pytest.approx(2 / 2001)


def test_no_mean_difference_is_called_one_more_often_than_it_says() -> None:
    """Of uniform gains about 0, for 3, 5 and 20 rows: at most one in twenty, and slices are so
    small."""
    generator = np.random.default_rng(11)
    for rows in (3, 5, 20):
        alarms = sum(mean_gain_p(generator.uniform(-0.5, 0.5, rows)) < 0.05 for _ in range(2000))
        assert alarms / 2000 < 0.06


@pytest.mark.parametrize("count", [10, 20, 50])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.95])
def test_a_subjects_own_interval_holds_its_share(count: int, share: float) -> None:
    """The percentile interval of 10 rows held 95 % in 41 of 100 evaluations."""
    metric, held = METRICS["exact_match"], 0.0
    for right in range(count + 1):
        given = np.repeat([1.0, 0.0], [right, count - right]).reshape(-1, 1)
        (drawn,) = resampled([(given, metric.aggregate)], count, 200, 1)
        own = Comparison(metric, {"candidate": given}, {"candidate": drawn}).interval(
            "candidate", 0.95
        )
        held += float(stats.binom.pmf(right, count, share)) * (own.low <= share <= own.high)
        assert 0.0 <= own.low < own.high <= 1.0
    assert held > 0.93


def test_an_interval_of_what_is_no_mean_is_never_without_width() -> None:
    """Ten rows that are all right: an F1 of 1, and not for sure."""
    metric = METRICS["macro_f1"]
    rows = [chat(f"q{n}", "ab"[n % 2]) for n in range(10)]
    compared = compare([metric], rows, {
        "base": [Prediction("?")] * 10,
        "candidate": [Prediction(row.answer) for row in rows],
    }, 200, 1)["macro_f1"]  # fmt: skip
    own = compared.interval("candidate", 0.95)
    assert (own.high, own.low < 0.9) == (1.0, True)
    gain = compared.gain_interval("base", 0.95)
    assert gain.low < 0.9
    assert compared.p_value("base") == (pytest.approx(2 / 201), "bootstrap")


def test_resamples_a_few_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    given = np.random.default_rng(3).normal(size=(30, 2))
    groups = np.arange(30) // 3.0
    one = [(given, lambda sums, count: sums[:, 0] / count)]
    weights = drawn_of(30, 50, 7)
    expected = bootstrap(given, one[0][1], weights)
    whole = [resampled(one, 30, 50, 7)[0], resampled(one, 30, 50, 7, groups)[0]]
    np.testing.assert_allclose(whole[0], expected)
    np.testing.assert_allclose(
        whole[1], bootstrap(given, one[0][1], drawn_of(10, 50, 7)[:, groups.astype(int)])
    )
    monkeypatch.setattr(statistics, "_CELLS", 100)
    np.testing.assert_allclose(resampled(one, 30, 50, 7)[0], whole[0])
    np.testing.assert_allclose(resampled(one, 30, 50, 7, groups)[0], whole[1])


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


@pytest.mark.parametrize("rows", [20, 50, pytest.param(200, marks=pytest.mark.slow)])
def test_the_interval_of_a_gain_covers_it(rows: int) -> None:
    """Right and wrong answers: exact sums over outcomes, no simulation (docs/log/evaluation.md).

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
    twice = [
        (np.repeat(np.eye(5), 2, axis=0)[:, [row]], lambda sums, _: sums[:, 0]) for row in range(5)
    ]
    drawn = np.stack(resampled(twice, 10, 50, 1, np.repeat(np.arange(5.0), 2)))
    assert (drawn % 2 == 0).all(), "rows of a group are drawn together"
    assert (drawn.sum(axis=0) == 10).all()
