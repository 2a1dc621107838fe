"""How far reviewers agree beyond chance, however many there are and whatever each left out. Pure.

Krippendorff's alpha (Krippendorff 2011, "Computing Krippendorff's alpha-reliability"):

    α = 1 − D_o / D_e,  D_o = Σ o_ck δ²_ck / n,  D_e = Σ n_c n_k δ²_ck / (n (n − 1)),

with the coincidences o_ck of values that were given to one unit, each pair of a unit with m
judgements counted 1 / (m − 1); δ² is 1 for different values (nominal), or their squared difference
(interval).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


def alpha(units: Iterable[Sequence[float]], *, interval: bool = False) -> float | None:
    """Krippendorff's alpha; None where all who judged the same units said one and the same thing.

    Args:
        units: what was said of each unit, in any order; units with less than two are passed over.
        interval: differences count by their square; else all alike.
    """
    judged = [unit for unit in units if len(unit) > 1]
    values = sorted({value for unit in judged for value in unit})
    if len(values) < 2:
        return None
    place = {value: at for at, value in enumerate(values)}
    coincidences = np.zeros((len(values),) * 2)
    for unit in judged:
        for i, first in enumerate(unit):
            for j, second in enumerate(unit):
                if i != j:
                    coincidences[place[first], place[second]] += 1 / (len(unit) - 1)
    at = np.asarray(values, dtype=np.float64)
    apart = (at[:, None] - at[None, :]) ** 2
    if not interval:
        apart = (apart > 0).astype(np.float64)
    margins = coincidences.sum(axis=1)
    total = margins.sum()
    observed = (coincidences * apart).sum() / total
    expected = (np.outer(margins, margins) * apart).sum() / (total * (total - 1))
    return float(1 - observed / expected)
