"""How sure a gain is: paired bootstrap, McNemar's exact test, Holm's correction. Pure numpy.

Invariant: both systems are resampled with the same weights (the rows are the same), and the result
depends on the statistics and the seed only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Aggregate = Callable[[Floats, float], Floats]


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided percentile interval."""

    low: float
    high: float


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
    return aggregate(weights @ statistics, weights.shape[1])


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
