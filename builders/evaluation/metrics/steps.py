"""What a process reward is worth on unseen answers: whether it tells good steps from bad ones.

Asked as it was trained (`builders/data/steps.py`); so the base, which was not, is judged as the
judge that it is without training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.metric import STEPS, Prediction, mean_metric


def _right(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    """Of each answer, the share of its steps on the right side of nought."""
    return [
        sum(
            (reward > 0) == (good > 0.5)
            for reward, (_, good) in zip(given.steps, row.steps, strict=True)
        )
        / max(1, len(row.steps))
        for given, row in zip(predictions, rows, strict=True)
    ]


STEP_ACCURACY = replace(
    mean_metric(
        "step_accuracy",
        "Share of an answer's steps whose judgement is right, a mean over the answers",
        _right,
        binary=False,
    ),
    needs=STEPS,
)
