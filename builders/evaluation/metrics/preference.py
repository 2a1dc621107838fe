"""Which of two answers a model finds likelier, on rows that say which is better.

The sum of an answer's log-probabilities is what is compared, as a policy would be asked; a longer
answer is the less likely for it, in the base and in the adapter alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.metric import PREFERENCE, Prediction, mean_metric


def _right(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    """An answer that is as likely as the other is not preferred."""
    return [float(prediction.margin > 0) for prediction in predictions]


def _margins(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    return [prediction.margin for prediction in predictions]


PREFERENCE_ACCURACY = replace(
    mean_metric(
        "preference_accuracy",
        "Share of pairs whose better answer is the likelier one",
        _right,
    ),
    needs=PREFERENCE,
)
PREFERENCE_MARGIN = replace(
    mean_metric(
        "preference_margin",
        "Log-probability of the better answer less that of the worse one, a mean over the pairs",
        _margins,
        binary=False,
    ),
    needs=PREFERENCE,
    unit="nats",
)
