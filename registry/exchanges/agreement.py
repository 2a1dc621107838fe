"""How far two reviewers of the same answers agree, beyond what chance gives.

Cohen's kappa (Cohen 1960) with the standard error of Fleiss, Cohen and Everitt (1969); for scores,
which have an order, with weights 1 - |i - j| / (k - 1) over the k values that were given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from adapterworks.registry.exchanges.exchange import Feedback

Aspect = Literal["thumb", "label", "score"]
_Z = 1.959963984540054  # of 95 %


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two reviewers on the answers that both have judged.

    Attributes:
        answers: how many those are.
        same: share of them judged alike.
        kappa: 1 is full agreement, 0 is chance; None where one cannot tell: no answers, or both
            always said the same one thing.
        low, high: 95 % interval of kappa.
    """

    aspect: Aspect
    first: str
    second: str
    answers: int
    same: float
    kappa: float | None
    low: float | None
    high: float | None


def agreement(said: Iterable[Feedback], aspect: Aspect) -> list[Agreement]:
    """Every pair of reviewers who have judged answers in common, by name.

    What a reviewer said last of an answer counts.
    """
    judged: dict[str, dict[str, str | float]] = {}
    for item in sorted(said, key=lambda item: item.created):
        value = getattr(item, aspect)
        if item.reviewer and value not in (None, ""):
            judged.setdefault(item.reviewer, {})[item.receipt] = value
    names = sorted(judged)
    pairs = [(a, b) for at, a in enumerate(names) for b in names[at + 1 :]]
    return [
        _of_pair(aspect, a, b, judged[a], judged[b])
        for a, b in pairs
        if judged[a].keys() & judged[b].keys()
    ]


def _of_pair(
    aspect: Aspect,
    first: str,
    second: str,
    of_first: dict[str, str | float],
    of_second: dict[str, str | float],
) -> Agreement:
    both = sorted(of_first.keys() & of_second.keys())
    ours, theirs = [of_first[name] for name in both], [of_second[name] for name in both]
    same = sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(both)
    found = kappa(ours, theirs, ordered=aspect == "score")
    value, error = (None, None) if found is None else found
    low = None if value is None or error is None else max(-1.0, value - _Z * error)
    high = None if value is None or error is None else min(1.0, value + _Z * error)
    return Agreement(aspect, first, second, len(both), same, value, low, high)


def kappa(
    ours: Sequence[str | float], theirs: Sequence[str | float], *, ordered: bool = False
) -> tuple[float, float] | None:
    """Cohen's kappa and its standard error; None where chance alone would agree fully.

    Args:
        ours, theirs: judgements of the same answers, in the same order; not empty.
        ordered: values have an order, and near ones agree in part (linear weights).
    """
    values = sorted({*ours, *theirs})
    place = {value: index for index, value in enumerate(values)}
    count, size = len(ours), len(values)
    table = np.zeros((size, size))
    for a, b in zip(ours, theirs, strict=True):
        table[place[a], place[b]] += 1.0 / count
    weights = np.eye(size)
    if ordered and size > 1:
        at = np.arange(size)
        weights = 1.0 - np.abs(at[:, None] - at[None, :]) / (size - 1)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    observed = float((weights * table).sum())
    chance = float(rows @ weights @ columns)
    if math.isclose(chance, 1.0):
        return None
    value = (observed - chance) / (1.0 - chance)
    # Fleiss, Cohen and Everitt 1969, eq. 8: weights less what each margin gives by chance.
    by_row, by_column = weights @ columns, rows @ weights
    spread = weights - (by_row[:, None] + by_column[None, :]) * (1.0 - value)
    variance = float((table * spread**2).sum()) - (value - chance * (1.0 - value)) ** 2
    return value, math.sqrt(max(0.0, variance) / count) / (1.0 - chance)
