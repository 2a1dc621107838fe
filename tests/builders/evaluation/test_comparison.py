"""A comparison of two subjects on four rows, each number worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.comparison import Comparison, compare
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
    drawn = resample_weights(4, 200, 11)
    np.testing.assert_allclose(match.samples["base"], drawn[:, 0] / 4)


def test_intervals_are_percentiles_of_the_gain(comparisons: dict[str, Comparison]) -> None:
    match, perplexity = comparisons["exact_match"], comparisons["perplexity"]
    # The share of row 0 is b in a resample: the gain is (1 − b) − b.
    gains = 1 - 2 * resample_weights(4, 200, 11)[:, 0] / 4
    bounds = match.gain_interval("base", 0.9)
    assert (bounds.low, bounds.high) == pytest.approx(tuple(np.quantile(gains, [0.05, 0.95])))
    own = match.interval("base", 0.5)
    shares = resample_weights(4, 200, 11)[:, 0] / 4
    assert (own.low, own.high) == pytest.approx(tuple(np.quantile(shares, [0.25, 0.75])))
    # Every row has the same perplexity: no resample differs, and the gain is positive.
    sure = perplexity.gain_interval("base", 0.9)
    assert sure.low == pytest.approx(sure.high)
    assert sure.low == pytest.approx(np.exp(0.5) - np.exp(0.25))


def test_a_right_or_wrong_metric_is_tested_by_what_changed(
    comparisons: dict[str, Comparison],
) -> None:
    """3 gained, 1 lost: two-sided P(at most 1 of 4 at ½) = 2 · (1 + 4) / 16."""
    p, test = comparisons["exact_match"].p_value("base")
    assert (p, test) == (pytest.approx(10 / 16), "mcnemar")


def test_another_metric_is_tested_by_its_resamples(comparisons: dict[str, Comparison]) -> None:
    """Every one of 200 resamples gains: twice (0 + 1) / (200 + 1)."""
    p, test = comparisons["perplexity"].p_value("base")
    assert (p, test) == (pytest.approx(2 / 201), "bootstrap")
