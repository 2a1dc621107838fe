"""pass@k: how likely one of k drawn answers is right (Chen et al. 2021, arXiv:2107.03374, §2.1).

Of n drawn answers to a row c are right. Of all sets of k of them, C(n − c, k) have no right one, so
1 − C(n − c, k) ÷ C(n, k) is an unbiased estimate, which 1 − (1 − c ÷ n)^k is not: it is too low.

Invariant: rows are compared one by one, as answers are; the interval is that of a mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb
from typing import Any

import numpy as np

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.comparison import CANDIDATE, groups_of
from adapterworks.builders.evaluation.metrics.metric import Metric, Prediction
from adapterworks.builders.evaluation.report import CONFIDENCE
from adapterworks.builders.evaluation.statistics import Floats, mean_gain_interval
from adapterworks.manifests.evaluate_tables import SamplesTable


def pass_at_k(drawn: int, right: int, k: int) -> float:
    """Of so many drawn answers so many are right: the chance that one of k is, k ≤ drawn."""
    return 1.0 - comb(drawn - right, k) / comb(drawn, k)


def sampled(
    metrics: Sequence[Metric],
    rows: Sequence[Row],
    predictions: Mapping[str, Sequence[Prediction]],
    table: SamplesTable,
) -> dict[str, Any] | None:
    """The report's `samples`: for each metric of right and wrong answers and each k the value of
    every subject that was drawn from, and the candidate's gains; None where none was.

    Args:
        predictions: as `evaluate`; subjects without samples (the nearest row) are left out.
    """
    drawn = {name: given for name, given in predictions.items() if given and given[0].samples}
    if CANDIDATE not in drawn:
        return None
    found: dict[str, Any] = {}
    for metric in metrics:
        if metric.of_answers and metric.binary:
            right = {name: _right(metric, rows, given) for name, given in drawn.items()}
            found[metric.name] = {
                f"pass@{k}": _entry(right, rows, len(drawn[CANDIDATE][0].samples), k)
                for k in sorted({*table.k})
            }
    return {
        "n": len(drawn[CANDIDATE][0].samples),
        "temperature": table.temperature,
        "top_p": table.top_p,
        "metrics": found,
    }


def _right(metric: Metric, rows: Sequence[Row], given: Sequence[Prediction]) -> list[int]:
    """How many of each row's samples are right."""
    each = [
        Prediction(text, whole=whole)
        for one in given
        for text, whole in zip(one.samples, one.whole_samples or one.samples, strict=True)
    ]
    whose = [row for row, one in zip(rows, given, strict=True) for _ in one.samples]
    scores = metric.per_example(metric.measured(each, whose)).reshape(len(rows), -1)
    return [int(count) for count in (scores > 0.5).sum(axis=1)]


def _entry(
    right: Mapping[str, Sequence[int]], rows: Sequence[Row], drawn: int, k: int
) -> dict[str, Any]:
    chances: dict[str, Floats] = {
        name: np.asarray([pass_at_k(drawn, count, k) for count in counts])
        for name, counts in right.items()
    }
    gains = {}
    for name, before in chances.items():
        if name != CANDIDATE:
            bounds = mean_gain_interval(chances[CANDIDATE] - before, CONFIDENCE, groups_of(rows))
            gain = float((chances[CANDIDATE] - before).mean())
            gains[name] = {"gain": gain, "low": bounds.low, "high": bounds.high}
    return {"values": {name: float(c.mean()) for name, c in chances.items()}, "gains": gains}
