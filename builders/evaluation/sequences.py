"""Always-valid confidence sequences of the mean of scores from 0 to 1. Pure numpy.

A confidence sequence holds at every row at once, so that whoever looks after each row and stops
when it pleases still errs no more often than stated. By betting, hedged (Waudby-Smith & Ramdas
2023, "Estimating means of bounded random variables by betting", theorem 3): against the claim that
the mean is m,

    K⁺_t(m) = Π_{i≤t} (1 + min(λ_i, c/m) (X_i − m)),

is a fair gambler's capital, which by Ville's inequality exceeds 2/α with a probability of at most
α/2 at any time; the bets are predictable, from the rows before only (their equation 26):

    λ_t = √(2 log(2/α) / (σ̂²_{t−1} t log(1 + t))),  σ̂²_t = (1/4 + Σ_{i≤t} (X_i − μ̂_i)²) / (t + 1),
    μ̂_t = (1/2 + Σ_{i≤t} X_i) / (t + 1),  c = 1/2.

K⁺ falls in m, so what it excludes is everything below one bound, found by bisection; the upper
bound is the lower one of 1 − X. Bounds of earlier rows go on to hold (the running intersection).

Invariant: a function of the scores in their order alone; rows are taken as independent draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.evaluation.statistics import Interval
from adapterworks.manifests.errors import InvalidInput

Floats = NDArray[np.float64]
Verdict = Literal["drop", "steady", "undecided"]

_MOST_STAKED = 0.5  # c: share of the capital that one row can lose
_HALVINGS = 40


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rows up to now say of a drop.

    Attributes:
        verdict: `drop`: it is larger than allowed; `steady`: it is not; `undecided`: more rows are
            needed.
        rows: how many it took, or how many there are where it is undecided.
        drop: mean of what was lost on those rows, −1–1.
        bounds: of the drop, valid whenever one looks.
    """

    verdict: Verdict
    rows: int
    drop: float
    bounds: Interval


def bets(scores: Floats, confidence: float) -> Floats:
    """The stakes λ: [..., n] scores → [..., n], each from the scores before it."""
    count = np.arange(1, scores.shape[-1] + 1)
    mean = (0.5 + np.cumsum(scores, axis=-1)) / (count + 1)
    variance = (0.25 + np.cumsum((scores - mean) ** 2, axis=-1)) / (count + 1)
    before = np.concatenate([np.full_like(variance[..., :1], 0.25), variance[..., :-1]], axis=-1)
    stakes: Floats = np.sqrt(2 * _threshold(confidence) / (before * count * np.log1p(count)))
    return stakes


def log_capital(scores: Floats, mean: float, confidence: float) -> Floats:
    """What was won by betting that the mean is above `mean`: [..., n] scores → [..., n] nats."""
    most = _MOST_STAKED / mean if mean > 0 else np.inf
    stakes = np.minimum(bets(scores, confidence), most)
    won: Floats = np.cumsum(np.log1p(stakes * (scores - mean)), axis=-1)
    return won


def first_above(scores: Floats, mean: float, confidence: float) -> int | None:
    """After how many rows the mean is known to be above `mean`; None if it is not."""
    known = log_capital(scores, mean, confidence) >= _threshold(confidence)
    return int(np.argmax(known)) + 1 if known.any() else None


def sequence_interval(scores: Floats, confidence: float) -> Interval:
    """The mean's interval after the last of the rows, valid whenever one looks.

    Args:
        scores: [n], 0–1, in the order in which they were seen.

    Raises:
        InvalidInput: a score is not from 0 to 1, or there is no such confidence.
    """
    _check(scores, confidence)
    return Interval(_lower(scores, confidence), 1 - _lower(1 - scores, confidence))


def decide(drops: Floats, most: float, confidence: float) -> Decision:
    """Whether what is lost in the mean is more than allowed, at the first row that shows it.

    Args:
        drops: [n], reference minus watched on the same row, −1–1, in the order in which they were
            seen.
        most: the largest mean drop that is allowed, 0–1.

    Raises:
        InvalidInput: as `sequence_interval`.
    """
    scores, allowed = (drops + 1) / 2, (most + 1) / 2
    _check(scores, confidence)
    lost = first_above(scores, allowed, confidence)
    kept = first_above(1 - scores, 1 - allowed, confidence)
    verdict: Verdict = "undecided"
    rows = len(drops)
    if lost is not None and (kept is None or lost < kept):
        verdict, rows = "drop", lost
    elif kept is not None:
        verdict, rows = "steady", kept
    seen = scores[:rows]
    bounds = sequence_interval(seen, confidence)
    mean = float(drops[:rows].mean()) if rows else 0.0
    return Decision(verdict, rows, mean, Interval(2 * bounds.low - 1, 2 * bounds.high - 1))


def decide_between(now: Floats, before: Floats, most: float, confidence: float) -> Decision:
    """As `decide`, of two streams that share no rows: each is bounded with half of the error.

    Args:
        now, before: [n] and [m] scores, 0–1, each in the order in which they were seen.

    Raises:
        InvalidInput: as `sequence_interval`.
    """
    each = (1 + confidence) / 2
    watched, reference = sequence_interval(now, each), sequence_interval(before, each)
    bounds = Interval(reference.low - watched.high, reference.high - watched.low)
    verdict: Verdict = "undecided"
    if bounds.low > most:
        verdict = "drop"
    elif bounds.high <= most:
        verdict = "steady"
    there = len(now) > 0 and len(before) > 0
    drop = float(before.mean() - now.mean()) if there else 0.0
    return Decision(verdict, len(now), drop, bounds)


def _threshold(confidence: float) -> float:
    """Nats of capital at which one side is decided: log(2/α)."""
    return float(np.log(2 / (1 - confidence)))


def _lower(scores: Floats, confidence: float) -> float:
    """The largest mean that is known to be too low, to a step of 2⁻⁴⁰, rounded down."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS if len(scores) else 0):
        middle = (low + high) / 2
        if first_above(scores, middle, confidence) is None:
            high = middle
        else:
            low = middle
    return low


def _check(scores: Floats, confidence: float) -> None:
    if not 0 < confidence < 1:
        raise InvalidInput(
            f"`{confidence}` is not a confidence", hint="give a number between 0 and 1, as 0.95"
        )
    outside = scores[~((scores >= 0) & (scores <= 1))]
    if len(outside):
        raise InvalidInput(
            f"a score is {float(outside[0]):g}, and these bounds are of scores from 0 to 1",
            hint="name a metric whose score of a row is from 0 to 1, such as `exact_match`",
        )
