"""Perplexity of the reference answers (or of plain text rows) under the model; lower is better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.metric import LIKELIHOOD, Floats, Metric, Prediction


def _statistics(predictions: Sequence[Prediction], rows: Sequence[Row]) -> Floats:
    return np.asarray([(p.nll, p.tokens) for p in predictions], dtype=np.float64).reshape(-1, 2)


def _perplexity(statistics: Floats) -> Floats:
    return np.asarray(np.exp(statistics[..., 0] / np.maximum(statistics[..., 1], 1)))


PERPLEXITY = Metric(
    name="perplexity",
    description="exp of the mean negative log-likelihood per reference token; lower is better",
    statistics=_statistics,
    aggregate=lambda sums, count: _perplexity(sums),
    per_example=_perplexity,
    unit="ppl",
    higher_is_better=False,
    needs=LIKELIHOOD,
)
