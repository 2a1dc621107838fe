"""Confidence sequences: against plain loops, never wrong too often, and of use."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adapterworks.builders.evaluation.sequences import (
    bets,
    decide,
    decide_between,
    first_above,
    log_capital,
    sequence_interval,
)
from adapterworks.manifests.errors import InvalidInput

STREAMS = 2000
ROWS = 1000


def drops(seed: int, streams: int, rows: int, lost: float, gained: float) -> np.ndarray:
    """[streams, rows]: reference minus watched, of answers that are right or wrong."""
    draw = np.random.default_rng(seed).random((streams, rows))
    return np.where(draw < lost, 1.0, np.where(draw < lost + gained, -1.0, 0.0))


def capital(scores: list[float], mean: float, alpha: float) -> list[float]:
    """The paper's K⁺ at m, in plain arithmetic."""
    result, money = [], 1.0
    total, squares, variance = 0.5, 0.25, 0.25
    for t, score in enumerate(scores, start=1):
        stake = math.sqrt(2 * math.log(2 / alpha) / (variance * t * math.log(t + 1)))
        money *= 1 + min(stake, 0.5 / mean) * (score - mean)
        result.append(money)
        total += score
        squares += (score - total / (t + 1)) ** 2
        variance = squares / (t + 1)
    return result


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_capital_and_bounds_are_the_papers(confidence: float) -> None:
    scores = np.random.default_rng(3).beta(4, 2, 120)
    alpha = 1 - confidence
    for mean in (0.1, 0.5, 0.66, 0.97):
        ours = np.exp(log_capital(scores, mean, confidence))
        np.testing.assert_allclose(ours, capital(scores.tolist(), mean, alpha), rtol=1e-9)
    grid = np.linspace(0.002, 0.998, 250)
    above = [max(capital(scores.tolist(), m, alpha)) >= 2 / alpha for m in grid]
    below = [max(capital((1 - scores).tolist(), 1 - m, alpha)) >= 2 / alpha for m in grid]
    found = sequence_interval(scores, confidence)
    assert found.low == pytest.approx(grid[np.flatnonzero(above)[-1]], abs=0.004)
    assert found.high == pytest.approx(grid[np.flatnonzero(below)[0]], abs=0.004)


def test_a_bet_knows_the_rows_before_it_and_no_other() -> None:
    scores = np.random.default_rng(4).random(50)
    changed = scores.copy()
    changed[20:] = 1 - changed[20:]
    assert np.array_equal(bets(scores, 0.95)[:21], bets(changed, 0.95)[:21])
    assert not np.array_equal(bets(scores, 0.95)[21:], bets(changed, 0.95)[21:])


@pytest.mark.parametrize(("lost", "gained"), [(0.03, 0.03), (0.2, 0.2), (0.04, 0.02)])
def test_streams_without_a_change_alarm_no_more_often_than_stated(
    lost: float, gained: float
) -> None:
    """Stopped at the worst time: any row of the thousand at which the capital is high enough."""
    scores = (drops(5, STREAMS, ROWS, lost, gained) + 1) / 2
    mean = (1 + lost - gained) / 2
    threshold = math.log(2 / 0.05)
    drop = (log_capital(scores, mean, 0.95) >= threshold).any(axis=-1)
    gain = (log_capital(1 - scores, 1 - mean, 0.95) >= threshold).any(axis=-1)
    assert drop.mean() <= 0.025 + 0.007  # two standard errors of 2,000 streams
    assert (drop | gain).mean() <= 0.05
    # The bounds that everybody knows would alarm at every other look.
    t = np.arange(1, ROWS + 1)
    centred = np.cumsum(scores - mean, axis=-1) / t
    error = np.sqrt(np.maximum(np.cumsum((scores - mean) ** 2, axis=-1), 1e-9)) / t
    peeking = (centred[:, 30:] > 1.96 * error[:, 30:]).any(axis=-1)
    assert peeking.mean() > 0.1


@pytest.mark.parametrize(("most", "rows"), [(0.0, 800), (0.02, 2500)])
def test_a_drop_of_five_points_is_found(most: float, rows: int) -> None:
    """7 % of the rows got worse and 2 % better: known on nine streams of ten within so many."""
    scores = (drops(6, 500, rows, 0.07, 0.02) + 1) / 2
    won = log_capital(scores, (1 + most) / 2, 0.95)
    assert (won >= math.log(2 / 0.05)).any(axis=-1).mean() >= 0.9
    first = first_above(scores[0], (1 + most) / 2, 0.95)
    assert first == int(np.argmax(won[0] >= math.log(2 / 0.05))) + 1


def test_what_is_decided_stops_there() -> None:
    lost = drops(7, 1, 3000, 0.3, 0.0)[0]
    whole = decide(lost, 0.02, 0.95)
    assert (whole.verdict, whole.rows < 300) == ("drop", True)
    assert whole.bounds.low >= 0.02 - 1e-9
    assert whole.bounds.low < 0.3 < whole.bounds.high
    assert whole.drop == pytest.approx(lost[: whole.rows].mean())
    assert decide(lost[: whole.rows], 0.02, 0.95) == whole
    before = decide(lost[: whole.rows - 1], 0.02, 0.95)
    assert (before.verdict, before.rows) == ("undecided", whole.rows - 1)


def test_what_stays_as_it_was_is_told_too() -> None:
    same = decide(np.zeros(1000), 0.02, 0.95)
    assert same.verdict == "steady"
    assert same.bounds.high <= 0.02 + 1e-9
    assert decide(np.zeros(0), 0.02, 0.95).bounds == decide(np.zeros(1), 0.02, 0.95).bounds
    assert decide(-drops(8, 1, 900, 0.3, 0)[0], 0.0, 0.95).verdict == "steady"


def test_streams_that_share_no_rows_are_bounded_by_both() -> None:
    generator = np.random.default_rng(9)
    good, bad = (generator.random((2, 800)) < [[0.9], [0.6]]).astype(float)
    worse = decide_between(bad, good, 0.05, 0.95)
    assert worse.verdict == "drop"
    assert worse.bounds.low == pytest.approx(
        sequence_interval(good, 0.975).low - sequence_interval(bad, 0.975).high
    )
    assert decide_between(good, bad, 0.05, 0.95).verdict == "steady"
    assert decide_between(good, good[:40], 0.05, 0.95).verdict == "undecided"
    nothing = decide_between(np.zeros(0), np.zeros(0), 0.05, 0.95)
    assert (nothing.verdict, nothing.bounds.low, nothing.bounds.high) == ("undecided", -1, 1)


@pytest.mark.parametrize("scores", [[0.5, 1.2], [-0.1], [float("nan")]])
def test_scores_outside_are_refused(scores: list[float]) -> None:
    with pytest.raises(InvalidInput, match="from 0 to 1"):
        sequence_interval(np.asarray(scores), 0.95)
    with pytest.raises(InvalidInput, match=r"`1\.0` is not a confidence"):
        sequence_interval(np.zeros(3), 1.0)
