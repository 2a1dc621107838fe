"""One metric of several subjects on the same rows: values, intervals, gains, p-values.

Invariant: all subjects are resampled with the same weights, so every difference is paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.metric import Floats, Metric, Prediction
from adapterworks.builders.evaluation.statistics import (
    Interval,
    bootstrap,
    bootstrap_p,
    interval,
    mcnemar_p,
    mean_gain_interval,
    resample_groups,
    resample_weights,
    share_interval,
    widened,
)

CANDIDATE = "candidate"
_ROUNDING = 1e-9
NATIVE = "native"  # a candidate before the conversion that it is served after


@dataclass(frozen=True)
class Comparison:
    """The candidate and its references under one metric.

    Attributes:
        statistics: subject → [rows, k] additive statistics.
        samples: subject → [samples] values on the resamples.
        groups: [rows] numbers of the groups that rows are drawn in; None if each is its own.
    """

    metric: Metric
    statistics: Mapping[str, Floats]
    samples: Mapping[str, Floats]
    groups: Floats | None = None

    @property
    def subjects(self) -> list[str]:
        """Who is compared, the candidate included."""
        return [*self.statistics]

    @property
    def of_shares(self) -> bool:
        """Whether every value lies from 0 to 1: a grader or a function of somebody's own may give
        any number."""
        if self.metric.unit != "share":
            return False
        scores = [self.metric.per_example(given) for given in self.statistics.values()]
        return all(bool(((one >= -_ROUNDING) & (one <= 1 + _ROUNDING)).all()) for one in scores)

    def value(self, subject: str) -> float:
        """The metric's value on all rows."""
        return self.metric.value(self.statistics[subject])

    def interval(self, subject: str, confidence: float) -> Interval:
        """Of a subject's own value."""
        return interval(self.samples[subject], confidence)

    def own_interval(self, subject: str, confidence: float) -> Interval:
        """Of a subject's own value, for few rows and shares of 0 and 1 too, where it is one."""
        metric, given = self.metric, self.statistics[subject]
        if not self.of_shares or not (metric.is_mean or metric.among is not None):
            return self.interval(subject, confidence)
        counted = np.ones(len(given), bool) if metric.among is None else metric.among(given)
        if not counted.any():
            return Interval(0.0, 1.0)
        groups = self.groups
        if groups is not None:
            groups = np.unique(groups[counted], return_inverse=True)[1].astype(np.float64)
        return share_interval(metric.per_example(given)[counted], confidence, groups)

    def gain(self, reference: str) -> float:
        """The candidate's improvement over a reference, positive when better."""
        return self._sign * (self.value(CANDIDATE) - self.value(reference))

    def gain_interval(self, reference: str, confidence: float) -> Interval:
        """Of the gain, paired."""
        if self.metric.is_mean:
            per_example = self.metric.per_example
            before, after = self.statistics[reference], self.statistics[CANDIDATE]
            differences = self._sign * (per_example(after) - per_example(before))
            return mean_gain_interval(differences, confidence, self.groups)
        bounds = interval(self._gains(reference), confidence)
        return widened(bounds, self.gain(reference), confidence, self.draws)

    def win_rate(self, reference: str) -> float:
        """The share of rows on which the candidate is better than a reference, a tie as half."""
        return float(0.5 + self._wins(reference).mean() / 2)

    def win_interval(self, reference: str, confidence: float) -> Interval:
        """Of the win rate, paired."""
        bounds = mean_gain_interval(self._wins(reference), confidence, self.groups)
        return Interval(0.5 + bounds.low / 2, 0.5 + bounds.high / 2)

    def _wins(self, reference: str) -> Floats:
        """[rows] 1 where the candidate is better, −1 where it is worse, 0 where it is neither."""
        per_example = self.metric.per_example
        before, after = self.statistics[reference], self.statistics[CANDIDATE]
        return np.sign(self._sign * (per_example(after) - per_example(before)))

    @property
    def draws(self) -> int:
        """How many rows, or groups of rows, were drawn independently of one another."""
        if self.groups is not None:
            return int(self.groups.max()) + 1
        return len(next(iter(self.statistics.values())))

    def p_value(self, reference: str) -> tuple[float, str]:
        """Two-sided p of "no gain" and the test it is from: `mcnemar` or `bootstrap`."""
        if self.metric.binary and self.groups is None:
            per_example = self.metric.per_example
            before, after = self.statistics[reference], self.statistics[CANDIDATE]
            return mcnemar_p(per_example(before), per_example(after)), "mcnemar"
        return bootstrap_p(self._gains(reference)), "bootstrap"

    @property
    def _sign(self) -> int:
        return 1 if self.metric.higher_is_better else -1

    def _gains(self, reference: str) -> Floats:
        return self._sign * (self.samples[CANDIDATE] - self.samples[reference])


def compare(
    metrics: Sequence[Metric],
    rows: Sequence[Row],
    predictions: Mapping[str, Sequence[Prediction]],
    samples: int,
    seed: int,
) -> dict[str, Comparison]:
    """Every metric's comparison, by name; one set of resamples for all."""
    groups = groups_of(rows)
    weights = (
        resample_weights(len(rows), samples, seed)
        if groups is None
        else resample_groups(groups, samples, seed)
    )
    comparisons = {}
    for metric in metrics:
        statistics = {name: metric.measured(given, rows) for name, given in predictions.items()}
        values = {
            name: bootstrap(stats, metric.aggregate, weights) for name, stats in statistics.items()
        }
        comparisons[metric.name] = Comparison(metric, statistics, values, groups)
    return comparisons


def groups_of(rows: Sequence[Row]) -> Floats | None:
    """Which rows stand and fall together, by their column `group` (a document, a patient, …).

    Rows that name none are a group each; None if no row names one.
    """
    names = [row.meta.get("group") for row in rows]
    if all(name is None for name in names):
        return None
    keys = [(at, None) if name is None else (-1, str(name)) for at, name in enumerate(names)]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.asarray([numbers[key] for key in keys], dtype=np.float64)
