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

    sizes = np.ones(len(differences)) if groups is None else np.bincount(groups.astype(int))
    sums = differences if groups is None else np.bincount(groups.astype(int), differences)
    count, largest = len(sums), max(1.0, float(np.abs(differences).max()))
    if count < 2:
        return Interval(-largest, largest)
    most = largest * sizes.mean()
    sums = np.concatenate([sums, [most, -most]])
    sizes = np.concatenate([sizes, [sizes.mean()] * 2])
    mean = sums.sum() / sizes.sum()
    error = np.sqrt(((sums - mean * sizes) ** 2).sum()) / sizes.sum()
    reach = float(t.ppf(0.5 + confidence / 2, count - 1) * error)
    return Interval(float(mean) - reach, float(mean) + reach)


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


def widened(bounds: Interval, value: float, confidence: float, draws: int) -> Interval:
    """A percentile interval for few rows: Student's quantile for the normal's, and n − 1 for n
    (Hesterberg 2015, "expanded percentile"). A single row shows no more than that it is there."""
    from scipy.stats import norm, t

    if draws < 2:
        largest = max(1.0, abs(value))
        return Interval(-largest, largest)
    tail = 0.5 + confidence / 2
    factor = float(t.ppf(tail, draws - 1) / norm.ppf(tail)) * (draws / (draws - 1)) ** 0.5
    return Interval(value - (value - bounds.low) * factor, value + (bounds.high - value) * factor)


def resample_groups(groups: Floats, samples: int, seed: int) -> Floats:
    """As `resample_weights`, of whole groups: [samples, rows], equal within a group."""
    codes = groups.astype(int)
    return resample_weights(int(codes.max()) + 1, samples, seed)[:, codes]


def resample_weights(rows: int, samples: int, seed: int) -> Floats:
    """How often each row is drawn: [samples, rows], each line sums to `rows`."""
    generator = np.random.Generator(np.random.PCG64(seed))
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


def bootstrap_p(gains: Floats) -> float:
    """Two-sided p of "no gain": twice the smaller tail beyond zero, never exactly 0."""
    samples = len(gains)
    below = (np.count_nonzero(gains <= 0) + 1) / (samples + 1)
    above = (np.count_nonzero(gains >= 0) + 1) / (samples + 1)
    return float(min(1.0, 2 * min(below, above)))


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
