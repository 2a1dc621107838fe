"""What a reward release is worth: whether it ranks unseen pairs, and whether it knows how surely.

Asked as it was trained (`builders/data/verdict.py`); so the base, which was not, is judged as the
judge that it is without training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.metric import (
    VERDICT,
    Floats,
    Metric,
    Prediction,
    mean_metric,
)

# Confidence of a verdict on a pair: σ of the rewards' distance, from a half to 1, in so many bins.
_BINS = 10


def _right(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    """Equal rewards rank nothing."""
    return [float(prediction.verdict > 0) for prediction in predictions]


def _nats(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    return [float(np.logaddexp(0.0, -prediction.verdict)) for prediction in predictions]


def _bins(predictions: Sequence[Prediction], rows: Sequence[Row]) -> Floats:
    """[n, 2·bins]: right answers and confidence, each in the bin of its confidence."""
    found = np.zeros((len(predictions), 2 * _BINS))
    for line, prediction in enumerate(predictions):
        confidence = float(1 / (1 + np.exp(-abs(prediction.verdict))))
        at = min(int((confidence - 0.5) * 2 * _BINS), _BINS - 1)
        found[line, at] = float(prediction.verdict > 0)
        found[line, _BINS + at] = confidence
    return found


def _calibration(sums: Floats, count: float) -> Floats:
    """Σ over bins |right − confidence| / n: the expected calibration error (Guo et al. 2017)."""
    apart = np.abs(sums[..., :_BINS] - sums[..., _BINS:])
    total: Floats = apart.sum(axis=-1) / count
    return total


def _apart(statistics: Floats) -> Floats:
    each: Floats = np.abs(statistics[:, :_BINS] - statistics[:, _BINS:]).sum(axis=1)
    return each


VERDICT_ACCURACY = replace(
    mean_metric(
        "verdict_accuracy", "Share of pairs whose better answer has the higher reward", _right
    ),
    needs=VERDICT,
)
VERDICT_LOSS = replace(
    mean_metric(
        "verdict_loss",
        "−log σ of the rewards' distance, a mean over the pairs: a coin's is 0.693",
        _nats,
        binary=False,
    ),
    needs=VERDICT,
    unit="nats",
    higher_is_better=False,
)
VERDICT_CALIBRATION = Metric(
    name="verdict_calibration",
    description="How far σ of the rewards' distance is from the share that is right, in ten bins",
    statistics=_bins,
    aggregate=_calibration,
    per_example=_apart,
    higher_is_better=False,
    needs=VERDICT,
)
