"""Losses as the papers write them, in NumPy and float64, one example at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def sft(logprobs: list[Values], weights: list[Values]) -> tuple[float, float]:
    """Σ −w·log p and Σ w, over all tokens of all rows."""
    total = sum(float((-w * p).sum()) for p, w in zip(logprobs, weights, strict=True))
    return total, sum(float(w.sum()) for w in weights)


def dpo(
    chosen: list[Values],
    rejected: list[Values],
    reference_chosen: list[Values],
    reference_rejected: list[Values],
    beta: float,
) -> float:
    """Σ −log σ(β(log π(y₁)/π₀(y₁) − log π(y₂)/π₀(y₂))), Rafailov et al. 2023, eq. 7."""
    total = 0.0
    for c, r, rc, rr in zip(chosen, rejected, reference_chosen, reference_rejected, strict=True):
        margin = beta * ((c.sum() - rc.sum()) - (r.sum() - rr.sum()))
        total += float(np.log1p(np.exp(-margin)))
    return total
