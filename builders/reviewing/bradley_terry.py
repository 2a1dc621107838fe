"""Strengths of several from who was preferred to whom (Bradley & Terry 1952). Pure NumPy.

    P(i is preferred to j) = 1 / (1 + exp(θ_j − θ_i)),  Σ θ = 0

Maximum likelihood by Newton's method; a tie is half a win for each. Two judgements of one row are
not independent, so the variance is the sandwich of scores that are summed by row (Liang & Zeger
1986), J⁻¹ (Σ_g s_g s_gᵀ) J⁻¹ · G / (G − 1), and intervals are Wald's.

Invariant: with `prior` above 0 there are strengths for any judgements that connect all of them;
without, whoever wins everything has none, and that is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapterworks.manifests.errors import InvalidInput

Floats = NDArray[np.float64]
_STEPS = 100
_CLOSE = 1e-10  # of a step, in nats
_FARTHEST = 15.0  # nats: a strength beyond that has no maximum


@dataclass(frozen=True, slots=True)
class Judged:
    """One judgement.

    Attributes:
        first, second: numbers from 0.
        won: 1 where the first was preferred, 0 where the second was, 0.5 for neither.
        row: what was judged; judgements of one row are one draw.
    """

    first: int
    second: int
    won: float
    row: int


@dataclass(frozen=True)
class Strengths:
    """What came of it.

    Attributes:
        values: [n] nats, with a sum of 0.
        covariance: [n, n], of rank n − 1.
    """

    values: Floats
    covariance: Floats

    def interval(self, at: int, confidence: float = 0.95) -> tuple[float, float]:
        """Of one strength, in nats."""
        reach = _quantile(confidence) * float(np.sqrt(self.covariance[at, at]))
        return float(self.values[at]) - reach, float(self.values[at]) + reach

    def preferred(
        self, first: int, second: int, confidence: float = 0.95
    ) -> tuple[float, float, float]:
        """How probably the first is preferred to the second, with its interval."""
        c = self.covariance
        difference = float(self.values[first] - self.values[second])
        spread = c[first, first] + c[second, second] - 2 * c[first, second]
        reach = _quantile(confidence) * float(np.sqrt(max(0.0, spread)))
        low, value, high = (float(_share(difference + by)) for by in (-reach, 0.0, reach))
        return value, low, high


def fit(judged: Sequence[Judged], count: int, *, prior: float = 0.5) -> Strengths:
    """Strengths and how sure they are.

    Args:
        count: how many are compared.
        prior: wins, and as many losses, that each pair which was compared is given beforehand.

    Raises:
        InvalidInput: the judgements do not connect all of them, or somebody wins everything and
            there is no prior.
    """
    first = np.array([one.first for one in judged], dtype=int)
    second = np.array([one.second for one in judged], dtype=int)
    won = np.array([one.won for one in judged], dtype=np.float64)
    _require_connected(first, second, count)
    pairs = sorted({(min(a, b), max(a, b)) for a, b in zip(first, second, strict=True)})
    values = np.zeros(count)
    for _ in range(_STEPS):
        score, information = _derivatives(values, first, second, won, pairs, prior)
        step = np.linalg.pinv(information, hermitian=True) @ score
        values = values + step
        values -= values.mean()
        if np.abs(values).max() > _FARTHEST:
            break
        if np.abs(step).max() < _CLOSE:
            rows = np.unique([one.row for one in judged], return_inverse=True)[1]
            spread = _sandwich(values, first, second, won, rows, information, pairs, prior)
            return Strengths(values, spread)
    raise InvalidInput(
        "one of them wins or loses everything, so that it has no strength",
        hint="compare on more rows, or with a prior",
    )


def _derivatives(
    values: Floats,
    first: NDArray[np.int_],
    second: NDArray[np.int_],
    won: Floats,
    pairs: Sequence[tuple[int, int]],
    prior: float,
) -> tuple[Floats, Floats]:
    """Gradient of the log-likelihood, and the information: what the gradient loses per nat."""
    left = np.concatenate([first, np.array([a for a, _ in pairs], dtype=int)])
    right = np.concatenate([second, np.array([b for _, b in pairs], dtype=int)])
    weight = np.concatenate([np.ones(len(first)), np.full(len(pairs), 2 * prior)])
    observed = np.concatenate([won, np.full(len(pairs), 0.5)])
    expected = _share(values[left] - values[right])
    score, information = np.zeros(len(values)), np.zeros((len(values),) * 2)
    beyond = weight * (observed - expected)
    np.add.at(score, left, beyond)
    np.add.at(score, right, -beyond)
    curved = weight * expected * (1 - expected)
    np.add.at(information, (left, left), curved)
    np.add.at(information, (right, right), curved)
    np.add.at(information, (left, right), -curved)
    np.add.at(information, (right, left), -curved)
    return score, information


def _sandwich(
    values: Floats,
    first: NDArray[np.int_],
    second: NDArray[np.int_],
    won: Floats,
    rows: NDArray[np.int_],
    information: Floats,
    pairs: Sequence[tuple[int, int]],
    prior: float,
) -> Floats:
    groups = int(rows.max()) + 1
    if groups < 2 and not prior:
        raise InvalidInput("one row does not say how rows differ", hint="compare on more rows")
    beyond = won - _share(values[first] - values[second])
    scores = np.zeros((groups, len(values)))
    np.add.at(scores, (rows, first), beyond)
    np.add.at(scores, (rows, second), -beyond)
    bread = np.linalg.pinv(information, hermitian=True)
    meat = scores.T @ scores
    for a, b in pairs:  # what the prior adds is as uncertain as what was seen
        share = float(_share(values[a] - values[b]))
        spread = prior * (share**2 + (1 - share) ** 2)
        meat[[a, b], [a, b]] += spread
        meat[[a, b], [b, a]] -= spread
    small = groups / (groups - 1) if groups > 1 else 2.0
    covariance: Floats = bread @ meat @ bread * small
    return covariance


def _require_connected(first: NDArray[np.int_], second: NDArray[np.int_], count: int) -> None:
    reached, waiting = {0}, [0]
    while waiting:
        at = waiting.pop()
        for other in {*second[first == at].tolist(), *first[second == at].tolist()} - reached:
            reached.add(other)
            waiting.append(other)
    if len(reached) < count:
        raise InvalidInput(
            "they were not all compared with one another, not even by way of a third",
            hint="review one of each group against one of the other",
        )


def _share(nats: Floats | float) -> Any:
    return 1 / (1 + np.exp(-np.asarray(nats)))


def _quantile(confidence: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(0.5 + confidence / 2))
