"""One metric of several subjects on the same rows: values, intervals, gains, p-values.

Invariant: all subjects are resampled with the same weights, so every difference is paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.metric import Floats, Metric, Prediction
from adapterworks.builders.evaluation.statistics import (
    Interval,
    bootstrap,
    bootstrap_p,
    interval,
    mcnemar_p,
    resample_weights,
)

CANDIDATE = "candidate"
NATIVE = "native"  # a candidate before the conversion that it is served after


@dataclass(frozen=True)
class Comparison:
    """The candidate and its references under one metric.

    Attributes:
        statistics: subject → [rows, k] additive statistics.
        samples: subject → [samples] values on the resamples.
    """

    metric: Metric
    statistics: Mapping[str, Floats]
    samples: Mapping[str, Floats]

    @property
    def subjects(self) -> list[str]:
        """Who is compared, the candidate included."""
        return [*self.statistics]

    def value(self, subject: str) -> float:
        """The metric's value on all rows."""
        return self.metric.value(self.statistics[subject])

    def interval(self, subject: str, confidence: float) -> Interval:
        """Of a subject's own value."""
        return interval(self.samples[subject], confidence)

    def gain(self, reference: str) -> float:
        """The candidate's improvement over a reference, positive when better."""
        return self._sign * (self.value(CANDIDATE) - self.value(reference))

    def gain_interval(self, reference: str, confidence: float) -> Interval:
        """Of the gain, paired."""
        return interval(self._gains(reference), confidence)

    def p_value(self, reference: str) -> tuple[float, str]:
        """Two-sided p of "no gain" and the test it is from: `mcnemar` or `bootstrap`."""
        if self.metric.binary:
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
    weights = resample_weights(len(rows), samples, seed)
    comparisons = {}
    for metric in metrics:
        statistics = {name: metric.statistics(given, rows) for name, given in predictions.items()}
        values = {
            name: bootstrap(stats, metric.aggregate, weights) for name, stats in statistics.items()
        }
        comparisons[metric.name] = Comparison(metric, statistics, values)
    return comparisons
