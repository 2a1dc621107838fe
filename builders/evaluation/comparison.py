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
    interval,
    mcnemar_p,
    mean_gain_interval,
    mean_gain_p,
    resampled,
    share_interval,
    widened,
    widened_p,
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
        """Of a subject's own value, for few rows and shares of 0 and 1 too."""
        metric, given = self.metric, self.statistics[subject]
        if self.of_shares and (metric.is_mean or metric.among is not None):
            counted = np.ones(len(given), bool) if metric.among is None else metric.among(given)
            if not counted.any():
                return Interval(0.0, 1.0)
            groups = self.groups
            if groups is not None:
                groups = np.unique(groups[counted], return_inverse=True)[1].astype(np.float64)
            return share_interval(metric.per_example(given)[counted], confidence, groups)
        value = self.value(subject)
        bounds = interval(self.samples[subject], confidence)
        found = widened(bounds, value, confidence, self.draws, self._largest)
        return Interval(max(0.0, found.low), min(1.0, found.high)) if self.of_shares else found

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
        gain = self.gain(reference)
        return widened(bounds, gain, confidence, self.draws, self._largest)

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
        """Two-sided p of "no gain" and the test it is from: `mcnemar`, or `student` or `bootstrap`,
        of which the gain's interval is."""
        if not self.metric.is_mean:
            gains, gain = self._gains(reference), self.gain(reference)
            return widened_p(gains, gain, self.draws, self._largest), "bootstrap"
        per_example = self.metric.per_example
        before, after = self.statistics[reference], self.statistics[CANDIDATE]
        if self.metric.binary and self.groups is None:
            return mcnemar_p(per_example(before), per_example(after)), "mcnemar"
        return mean_gain_p(per_example(after) - per_example(before), self.groups), "student"

    @property
    def _largest(self) -> float | None:
        """The most that a value can change by, where that is known."""
        return 1.0 if self.of_shares else None

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
    measured = {
        metric.name: {name: metric.measured(given, rows) for name, given in predictions.items()}
        for metric in metrics
    }
    return compare_measured(metrics, groups_of(rows), measured, samples, seed)


def compare_measured(
    metrics: Sequence[Metric],
    groups: Floats | None,
    measured: Mapping[str, Mapping[str, Floats]],
    samples: int,
    seed: int,
) -> dict[str, Comparison]:
    """As `compare`, of statistics that are there.

    Args:
        measured: metric → subject → [rows, k].
    """
    each = [(m, subject, found) for m in metrics for subject, found in measured[m.name].items()]
    if not each:
        return {}
    of = [(found, metric.aggregate) for metric, _, found in each]
    values = resampled(of, len(each[0][2]), samples, seed, groups)
    drawn: dict[str, dict[str, Floats]] = {}
    for (metric, subject, _), own in zip(each, values, strict=True):
        drawn.setdefault(metric.name, {})[subject] = own
    return {m.name: Comparison(m, measured[m.name], drawn[m.name], groups) for m in metrics}


def groups_of_part(groups: Floats | None, chosen: Sequence[int]) -> Floats | None:
    """The groups of some rows, numbered anew."""
    if groups is None:
        return None
    return np.unique(groups[[*chosen]], return_inverse=True)[1].astype(np.float64)


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
