"""How sure a gain is: paired bootstrap, McNemar's exact test, Holm's correction. Pure numpy.

Invariant: both systems are resampled with the same weights (the rows are the same), and the result
depends on the statistics and the seed only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Aggregate = Callable[[Floats, Any], Floats]
_CELLS = 4_000_000  # rows × resamples that are there together: some 100 MB


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided percentile interval."""

    low: float
    high: float


def mean_gain_interval(
    differences: Floats, confidence: float, groups: Floats | None = None
) -> Interval:
    """The interval of a mean paired difference, for few rows and large gains too.

    Student's interval on the differences with one more gain and one more loss of the largest size
    (for right and wrong answers Bonett & Price 2012, who take the normal's quantile): a bootstrap
    of rows that all agree has no width, and so is sure of one row. Its coverage is worked out
    exactly in the tests. Rows of one group count as one draw (cluster-robust variance).

    Args:
        differences: [rows], candidate minus reference, positive when better.
        groups: [rows] numbers of groups from 0 on; without, each row is its own.
    """
    from scipy.stats import t

    count, mean, error, largest = _one_more_of_each(differences, groups)
    if count < 2:
        return Interval(-largest, largest)
    reach = float(t.ppf(0.5 + confidence / 2, count - 1) * error)
    return Interval(mean - reach, mean + reach)


def mean_gain_p(differences: Floats, groups: Floats | None = None) -> float:
    """Two-sided p of "no gain": 1 − the largest confidence at which `mean_gain_interval` leaves 0
    out, so that the two never contradict each other. One draw shows nothing.

    Args:
        differences, groups: as there.
    """
    from scipy.stats import t

    count, mean, error, _ = _one_more_of_each(differences, groups)
    return 1.0 if count < 2 else float(2 * t.sf(abs(mean) / error, count - 1))


def _one_more_of_each(
    differences: Floats, groups: Floats | None
) -> tuple[int, float, float, float]:
    """Draws, mean and its standard error with one more gain and one more loss, and their size."""
    sizes = np.ones(len(differences)) if groups is None else np.bincount(groups.astype(int))
    sums = differences if groups is None else np.bincount(groups.astype(int), differences)
    count, largest = len(sums), max(1.0, float(np.abs(differences).max()))
    most = largest * sizes.mean()
    sums = np.concatenate([sums, [most, -most]])
    sizes = np.concatenate([sizes, [sizes.mean()] * 2])
    mean = sums.sum() / sizes.sum()
    error = np.sqrt(((sums - mean * sizes) ** 2).sum()) / sizes.sum()
    return count, float(mean), float(error), largest


def share_interval(scores: Floats, confidence: float, groups: Floats | None = None) -> Interval:
    """The interval of a mean of scores from 0 to 1, for few rows and shares of 0 and 1 too: that of
    `mean_gain_interval`, with one more right and one more wrong (Agresti & Caffo 2000).

    Args:
        scores: [rows].
        groups: as there.
    """
    bounds = mean_gain_interval(2 * scores - 1, confidence, groups)
    return Interval(max(0.0, (1 + bounds.low) / 2), min(1.0, (1 + bounds.high) / 2))


def sign_p(differences: Floats, groups: Floats | None = None) -> float:
    """The sign test's exact two-sided p: are there as many gains as losses? Ties are left out, and
    of a group it counts what its rows come to together.

    Args:
        differences: [rows], positive when better.
        groups: [rows] numbers of groups from 0 on; without, each row is its own.
    """
    if groups is not None:
        differences = np.bincount(groups.astype(int), differences).astype(np.float64)
    return mcnemar_p((differences < 0).astype(np.float64), (differences > 0).astype(np.float64))


def ratio_interval(sums: Floats, sizes: Floats, confidence: float) -> Interval:
    """The interval of Σ sums ÷ Σ sizes over rows of unlike sizes, such as nats over tokens.

    Student's, with the ratio's linearized variance (Cochran 1977, §6.3). One row shows no more than
    that it is there.

    Args:
        sums: [rows], each row's share of the numerator.
        sizes: [rows], positive.
    """
    from scipy.stats import t

    count, ratio = len(sums), float(sums.sum() / sizes.sum())
    if count < 2:
        largest = max(1.0, abs(ratio))
        return Interval(-largest, largest)
    rest = ((sums - ratio * sizes) ** 2).sum() * count / (count - 1)
    reach = float(t.ppf(0.5 + confidence / 2, count - 1) * np.sqrt(rest) / sizes.sum())
    return Interval(ratio - reach, ratio + reach)


def widened(
    bounds: Interval, value: float, confidence: float, draws: int, largest: float | None = None
) -> Interval:
    """A percentile interval for few rows: Student's quantile for the normal's, and n − 1 for n
    (Hesterberg 2015, "expanded percentile"). A single row shows no more than that it is there, and
    rows that all agree no more than as many rows without any change (`mean_gain_interval`).

    Args:
        draws: rows, or groups of rows.
        largest: that a change can be, if it is known.
    """
    from scipy.stats import norm, t

    most = max(1.0, abs(value)) if largest is None else largest
    if draws < 2:
        return Interval(-most, most)
    tail = 0.5 + confidence / 2
    quantile = float(t.ppf(tail, draws - 1))
    factor = quantile / float(norm.ppf(tail)) * (draws / (draws - 1)) ** 0.5
    least = most * quantile * 2**0.5 / (draws + 2)
    below, above = (value - bounds.low) * factor, (bounds.high - value) * factor
    return Interval(value - max(below, least), value + max(above, least))


def widened_p(gains: Floats, value: float, draws: int, largest: float | None = None) -> float:
    """Two-sided p of "no gain" by resamples: 1 − the largest confidence at which their widened
    interval leaves 0 out; no smaller than resamples can tell, nor than the chance that `draws`
    coins all fall the same way.

    Args:
        gains: [samples].
        value: the gain on all rows.
    """
    ordered = np.sort(gains)
    least = max(2 / (len(ordered) + 1), 2.0 ** (1 - draws))

    def sure(p: float) -> bool:
        low, high = np.quantile(ordered, [p / 2, 1 - p / 2])
        bounds = widened(Interval(float(low), float(high)), value, 1 - p, draws, largest)
        return bounds.low > 0 or bounds.high < 0

    if least >= 1 or not sure(0.999):
        return 1.0
    if sure(least):
        return least
    unsure, found = least, 0.999
    for _ in range(40):
        middle = (unsure + found) / 2
        unsure, found = (unsure, middle) if sure(middle) else (middle, found)
    return found


def resampled(
    of: Sequence[tuple[Floats, Aggregate]],
    rows: int,
    samples: int,
    seed: int,
    groups: Floats | None = None,
) -> list[Floats]:
    """Values on the same resamples: for each of several statistics with their aggregate [samples].

    A few resamples at a time, so that memory does not grow with both rows and samples.

    Args:
        of: [rows, k] additive statistics of one system, and [samples, k] sums with the number of
            rows → [samples].
        groups: [rows] numbers of groups that are drawn whole.
    """
    codes = None if groups is None else groups.astype(int)
    count = rows if codes is None else int(codes.max()) + 1
    generator = np.random.Generator(np.random.PCG64(seed))
    found = [np.empty(samples) for _ in of]
    together = max(1, _CELLS // max(1, rows))
    for start in range(0, samples, together):
        stop = min(samples, start + together)
        weights = resample_weights(generator, count, stop - start)
        weights = weights if codes is None else weights[:, codes]
        for values, (statistics, aggregate) in zip(found, of, strict=True):
            values[start:stop] = bootstrap(statistics, aggregate, weights)
    return found


def resample_weights(generator: np.random.Generator, rows: int, samples: int) -> Floats:
    """How often each row is drawn: [samples, rows], each line sums to `rows`."""
    draws = generator.integers(0, rows, size=(samples, rows))
    flat = draws + np.arange(samples)[:, None] * rows
    counts = np.bincount(flat.ravel(), minlength=samples * rows)
    return counts.reshape(samples, rows).astype(np.float64)


def bootstrap(statistics: Floats, aggregate: Aggregate, weights: Floats) -> Floats:
    """A metric's value on every resample; with equal weights, two systems' values are paired.

    Args:
        statistics: [rows, k] additive statistics of one system.
        aggregate: [samples, k] sums and the number of rows → [samples].
        weights: [samples, rows] of `resample_weights`.
    """
    return aggregate(weights @ statistics, weights.sum(axis=1))


def interval(values: Floats, confidence: float) -> Interval:
    """The percentile interval of bootstrap values."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))


def mcnemar_p(reference: Floats, candidate: Floats) -> float:
    """McNemar's exact two-sided p for right/wrong scores of two systems on the same rows."""
    from scipy.stats import binomtest

    gained = int(np.count_nonzero((candidate > 0.5) & (reference < 0.5)))
    lost = int(np.count_nonzero((candidate < 0.5) & (reference > 0.5)))
    if gained + lost == 0:
        return 1.0
    return float(binomtest(min(gained, lost), gained + lost, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the given order (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
