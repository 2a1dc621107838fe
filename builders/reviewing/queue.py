"""Judgements of the gateway's review queue → who is preferred, how surely, how far people agree.

Invariant: each request is one draw, however many have judged it; the figures are of answers that
differ, since equal ones are shown to nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from adapterworks.builders.evaluation.statistics import mean_gain_interval
from adapterworks.builders.reviewing.reliability import alpha
from adapterworks.registry.exchanges.preferences import preferences, value
from adapterworks.registry.exchanges.reviews import Review

CONFIDENCE = 0.95


def outcomes(judged: Sequence[Review]) -> list[dict[str, Any]]:
    """For each two releases (or one, of answers that were shown alone): the counts of
    `preferences`, how probably the first is preferred (0–1) with its interval, and Krippendorff's
    alpha."""
    found = []
    for one in preferences(judged):
        group = [r for r in judged if (r.release, r.against) == (one.release, one.against)]
        names = [(r.tenant, r.receipt) for r in group]
        values = np.array([value(r) for r in group], dtype=np.float64)
        groups = np.unique([f"{a} {b}" for a, b in names], return_inverse=True)[1]
        bounds = mean_gain_interval(values, CONFIDENCE, groups.astype(np.float64))
        said: dict[tuple[str, str], list[float]] = {}
        for name, number in zip(names, values.tolist(), strict=True):
            said.setdefault(name, []).append(number)
        found.append(
            asdict(one)
            | {
                "preferred": (float(values.mean()) + 1) / 2,
                "low": max(0.0, (bounds.low + 1) / 2),
                "high": min(1.0, (bounds.high + 1) / 2),
                "alpha": alpha(said.values()),
            }
        )
    return found
