"""What people said of an alias's releases, as two streams of scores.

Invariant: an answer counts once, by the first that was said of it, so that what is said later
changes nothing that was counted. Only what is erased goes out again: a correction without a thumb
or a score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.evaluation.sequences import Decision, decide_between
from adapterworks.builders.watching.alias import Pair
from adapterworks.registry.exchanges.exchange import Feedback
from adapterworks.registry.exchanges.feedback import listed
from adapterworks.registry.exchanges.store import Exchanges


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of it.

    Attributes:
        now, before: mean scores of the two releases; None where nothing was said.
        answers: how many were judged of each.
    """

    decision: Decision
    now: float | None
    before: float | None
    answers: tuple[int, int]


def watch_feedback(
    store: Exchanges, pair: Pair, *, tenant: str | None = None, confidence: float, most: float
) -> Heard:
    """Compare what was said of the watched release with what was said of the reference.

    The streams are of different questions, asked at different times: what has changed about the
    questions is in the difference too.

    Args:
        tenant: id of the tenant whose feedback is read; all tenants', if not given.
        most: the largest drop of the mean that is allowed, 0–1.
    """
    now, before = (
        _scores(store, pair.name, one.digest, tenant) for one in (pair.watched, pair.reference)
    )
    decision = decide_between(now, before, most, confidence)
    return Heard(decision, _mean(now), _mean(before), (len(now), len(before)))


def score(said: Feedback) -> float | None:
    """From 0 to 1: the score, else the thumb; a correction alone says that it was wrong."""
    if said.score is not None:
        return said.score
    if said.thumb:
        return 1.0 if said.thumb == "up" else 0.0
    return 0.0 if said.correction is not None else None


def _scores(
    store: Exchanges, adapter: str, release: str, tenant: str | None
) -> NDArray[np.float64]:
    """In the order in which it was said."""
    found: dict[tuple[str, str], float] = {}
    said = listed(store, tenant=tenant, adapter=adapter, release=release)
    for one in reversed([feedback for _, feedback in said]):
        value = score(one)
        if value is not None:
            found.setdefault((one.tenant, one.receipt), value)
    return np.asarray([*found.values()], dtype=np.float64)


def _mean(scores: NDArray[np.float64]) -> float | None:
    return float(scores.mean()) if len(scores) else None
