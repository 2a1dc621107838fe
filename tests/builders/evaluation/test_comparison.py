"""A comparison of two subjects on four rows, each number worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.comparison import Comparison, compare, groups_of
from adapterworks.builders.evaluation.metrics import METRICS
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.builders.evaluation.statistics import resample_weights

ROWS = [chat(f"q{i}", f"a{i}") for i in range(4)]


def said(*right: bool, nll: float = 1.0) -> list[Prediction]:
    """Answers that are right or not; each costs `nll` nats for two tokens."""
    return [
        Prediction(row.answer if good else "?", nll=nll, tokens=2)
        for row, good in zip(ROWS, right, strict=True)
    ]


@pytest.fixture
def comparisons() -> dict[str, Comparison]:
    """The base has row 0 right, the candidate the others; perplexities are e^0.5 and e^0.25."""
    predictions = {
        "base": said(True, False, False, False),
        "candidate": said(False, True, True, True, nll=0.5),
    }
    metrics = [METRICS["exact_match"], METRICS["perplexity"]]
    return compare(metrics, ROWS, predictions, samples=200, seed=11)


def test_values_and_gains_are_those_of_all_rows(comparisons: dict[str, Comparison]) -> None:
    match, perplexity = comparisons["exact_match"], comparisons["perplexity"]
    assert match.subjects == ["base", "candidate"]
    assert (match.value("base"), match.value("candidate")) == (0.25, 0.75)
    assert match.gain("base") == 0.5
    # Lower is better: what it fell by is what was gained.
    assert perplexity.gain("base") == pytest.approx(np.exp(0.5) - np.exp(0.25))
    assert match.gain("candidate") == 0.0


def test_both_subjects_are_resampled_with_the_same_rows(
    comparisons: dict[str, Comparison],
) -> None:
    """Each row is one subject's or the other's, so in every resample the shares sum to 1."""
    match = comparisons["exact_match"]
    np.testing.assert_allclose(match.samples["base"] + match.samples["candidate"], 1.0)
    drawn = resample_weights(np.random.Generator(np.random.PCG64(11)), 4, 200)
    np.testing.assert_allclose(match.samples["base"], drawn[:, 0] / 4)


def test_intervals_are_of_the_mean_or_percentiles_of_the_gain(
    comparisons: dict[str, Comparison],
) -> None:
    match, perplexity = comparisons["exact_match"], comparisons["perplexity"]
    # 3 gained and 1 lost of 4, with one more of each: a mean of 2/6, a variance of 1 − 1/9 over 6;
    # Student's 95 % quantile with 3 degrees of freedom is 2.3534.
    bounds = match.gain_interval("base", 0.9)
    reach = 2.3534 * (8 / 9 / 6) ** 0.5
    assert (bounds.low, bounds.high) == pytest.approx((1 / 3 - reach, 1 / 3 + reach), abs=1e-4)
    # 1 of 4 is right, with one more right and one more wrong: 2/6; of ±1, a variance of 1 − 1/9
    # over 6, and half of that for shares. Student's 50 % quantile is 0.7649.
    own = match.interval("base", 0.5)
    reach = 0.7649 * (8 / 9 / 6) ** 0.5 / 2
    assert (own.low, own.high) == pytest.approx((1 / 3 - reach, 1 / 3 + reach), abs=1e-4)
    # Every row has the same perplexity, so no resample differs; the width is that of four rows
    # without any change, 2.3534 · √2 / 6.
    gain, reach = np.exp(0.5) - np.exp(0.25), 2.3534 * 2**0.5 / 6
    for bounds, value in (
        (perplexity.gain_interval("base", 0.9), gain),
        (perplexity.interval("candidate", 0.9), np.exp(0.25)),
    ):
        most = max(1.0, value)
        assert bounds.low == pytest.approx(value - most * reach, abs=1e-3)
        assert bounds.high == pytest.approx(value + most * reach, abs=1e-3)


def test_a_right_or_wrong_metric_is_tested_by_what_changed(
    comparisons: dict[str, Comparison],
) -> None:
    """3 gained, 1 lost: two-sided P(at most 1 of 4 at ½) = 2 · (1 + 4) / 16."""
    p, test = comparisons["exact_match"].p_value("base")
    assert (p, test) == (pytest.approx(10 / 16), "mcnemar")


def test_another_metric_is_tested_as_its_interval_is(comparisons: dict[str, Comparison]) -> None:
    """Every one of 200 resamples gains, of four rows: the interval has no gain in it below the
    confidence at which Student's quantile · √2 / 6 is the gain."""
    perplexity = comparisons["perplexity"]
    p, test = perplexity.p_value("base")
    reach = float(stats.t.isf(p / 2, 3)) * 2**0.5 / 6
    assert (reach, test) == (pytest.approx(perplexity.gain("base"), abs=1e-3), "bootstrap")
    assert p > 0.125, "four coins fall alike as often"


def test_rows_of_one_group_are_drawn_and_counted_together() -> None:
    """A column `group` names what rows belong to; a row without one is alone."""
    pages = [{"group": f"page {i // 4}"} for i in range(8)] + [{}]
    rows = [chat(f"q{i}", "a", **page) for i, page in enumerate(pages)]
    groups = groups_of(rows)
    assert groups is not None
    assert groups.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert groups_of([chat("q", "a"), chat("r", "b")]) is None
    given = {
        "base": [Prediction("b")] * 9,
        "candidate": [Prediction("a")] * 4 + [Prediction("b")] * 5,
    }
    match = compare([METRICS["exact_match"]], rows, given, 100, 3)["exact_match"]
    assert match.draws == 3
    assert match.p_value("base")[1] == "student"  # McNemar's test wants independent rows
    plain = [chat(f"q{i}", "a") for i in range(9)]
    alone = compare([METRICS["exact_match"]], plain, given, 100, 3)["exact_match"]
    assert (alone.draws, alone.p_value("base")[1]) == (9, "mcnemar")
    assert match.gain_interval("base", 0.9).low < alone.gain_interval("base", 0.9).low
    # A resample's mean is of the rows that it drew, not of their number in all.
    drawn = [(a, b, 3 - a - b) for a in range(4) for b in range(4 - a)]
    means = {round(4 * a / (4 * (a + b) + c), 6) for a, b, c in drawn}
    assert set(match.samples["candidate"].round(6).tolist()) <= means
