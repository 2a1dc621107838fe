"""Whose answers a judge prefers: how often a subject's are better than the candidate's.

Invariant: the candidate's own value is ½, so the gain over a reference is the share of rows on
which the candidate is preferred to it, a tie as half, less ½.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.metric import JUDGED, Prediction, mean_metric


def _preferred(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    return [prediction.judged for prediction in predictions]


WIN_RATE = replace(
    mean_metric(
        "win_rate",
        "How often `evaluate.judge` prefers its answer to the candidate's, a tie as half",
        _preferred,
        binary=False,
    ),
    needs=JUDGED,
)
