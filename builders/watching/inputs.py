"""Is what is asked now what the release was made for? Lengths, topics and likeness, at any time.

One half of the rows that the release learnt fixes what is measured: F, the distribution of their
lengths; k topics (k-means on the vectors of `failures/clusters.py`); and how like its nearest row
each of them is. The other half and the traffic are then two streams of scores from 0 to 1, which
share no row with what fixed them:

    length    F(length), and 2 |F(length) − 1/2| for lengths at either end
    likeness  the share of rows that are less like their nearest one
    topic     1 where a question is nearest to the topic's middle

The difference of each pair of means has a confidence sequence (`evaluation/sequences.py`), with the
error divided by their number (Bonferroni): whoever looks after each question is wrong about any of
them no more often than stated.

Invariant: a function of the two lists of questions, whatever the order of the known ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.evaluation.sequences import sequence_interval
from adapterworks.builders.failures.clusters import Space
from adapterworks.manifests.errors import InvalidInput

Floats = NDArray[np.float64]
Verdict = Literal["drift", "steady", "undecided"]
LEAST = 40  # known questions
TOPICS = 6
_A_TOPIC = 10  # questions that there must be for each
_AT_ONCE = 4096  # questions that are compared with all known ones at a time
_FIXING = 2000  # questions of the half that fixes what is measured, at most


@dataclass(frozen=True, slots=True)
class Aspect:
    """One thing that may have changed.

    Attributes:
        words: of a topic.
        before, now: means of the scores.
        low, high: of now − before, valid whenever one looks.
    """

    name: str
    words: tuple[str, ...]
    before: float
    now: float
    low: float
    high: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Inputs:
    """What came of it: `drift` if one aspect drifted, `steady` if all are."""

    verdict: Verdict
    known: int
    asked: int
    aspects: tuple[Aspect, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def watch_inputs(
    known: Sequence[str],
    traffic: Sequence[str],
    *,
    confidence: float,
    most: float,
    topics: int = TOPICS,
) -> Inputs:
    """Compare what is asked with what is known.

    Args:
        known: the questions that the release was made for.
        traffic: what was asked, in the order in which it was.
        most: the largest shift of a mean that is let pass, 0–1.
        topics: at most so many.

    Raises:
        InvalidInput: fewer than `LEAST` questions are known.
    """
    if len(known) < LEAST:
        raise InvalidInput(
            f"{len(known)} questions are known, and at least {LEAST} must be to compare with",
            hint="name more with `--rows SOURCE`",
        )
    fixing, before = halves(known)
    measured = _Measured(fixing[:_FIXING], topics)
    then, now = measured.scores(before), measured.scores(traffic)
    each = 1 - (1 - confidence) / (2 * len(then))
    aspects = tuple(
        _aspect(name, words, old, now[at][2], each, most)
        for at, (name, words, old) in enumerate(then)
    )
    verdict: Verdict = "steady"
    if any(aspect.verdict == "drift" for aspect in aspects):
        verdict = "drift"
    elif any(aspect.verdict == "undecided" for aspect in aspects):
        verdict = "undecided"
    return Inputs(verdict, len(known), len(traffic), aspects)


def halves(known: Sequence[str]) -> tuple[list[str], list[str]]:
    """The half that fixes what is measured, and the other one.

    Two rows of one text may be in both, as by chance: a text that were in one half alone would make
    the other less like it than any traffic, in which known texts come again.
    """
    ordered = sorted(known)
    places = np.random.Generator(np.random.PCG64(0)).permutation(len(ordered))
    middle = len(ordered) // 2
    return [ordered[at] for at in places[:middle]], [ordered[at] for at in places[middle:]]


class _Measured:
    """What is measured, fixed by some questions."""

    def __init__(self, fixing: Sequence[str], topics: int) -> None:
        from sklearn.cluster import KMeans

        self._space = Space(fixing)
        self._vectors = self._space.of(fixing)
        near = (self._vectors @ self._vectors.T).toarray()
        np.fill_diagonal(near, -1.0)
        self._likeness = np.sort(near.max(axis=1))
        self._lengths = np.sort([float(len(text)) for text in fixing])
        count = max(1, min(topics, len(fixing) // _A_TOPIC))
        fitted = KMeans(count, n_init=3, random_state=0).fit(self._vectors)
        middles = fitted.cluster_centers_
        self._middles = middles / np.maximum(np.linalg.norm(middles, axis=1, keepdims=True), 1e-12)
        members = [np.flatnonzero(fitted.labels_ == at) for at in range(count)]
        self._words = [
            self._space.words(self._middles, at, list(fixing), members[at]) for at in range(count)
        ]

    def scores(self, texts: Sequence[str]) -> list[tuple[str, tuple[str, ...], Floats]]:
        """Name, words and [texts] scores of each aspect."""
        if not texts:
            empty = np.zeros(0)
            named = ["length", "length, at either end", "likeness"]
            topics = [(f"topic {at}", of, empty) for at, of in enumerate(self._words, start=1)]
            return [(name, (), empty) for name in named] + topics
        length = _share_below(self._lengths, np.array([float(len(text)) for text in texts]))
        vectors = self._space.of(texts)
        near = np.concatenate(
            [
                (vectors[at : at + _AT_ONCE] @ self._vectors.T).max(axis=1).toarray().ravel()
                for at in range(0, len(texts), _AT_ONCE)
            ]
        )
        topic = np.asarray(vectors @ self._middles.T).argmax(axis=1)
        found: list[tuple[str, tuple[str, ...], Floats]] = [
            ("length", (), length),
            ("length, at either end", (), 2 * np.abs(length - 0.5)),
            ("likeness", (), _share_below(self._likeness, near)),
        ]
        for at, words in enumerate(self._words):
            found.append((f"topic {at + 1}", words, (topic == at).astype(np.float64)))
        return found


def _share_below(known: Floats, values: Floats) -> Floats:
    """[values] share of what is known below each, with half of what is equal."""
    below = np.searchsorted(known, values, side="left")
    upto = np.searchsorted(known, values, side="right")
    shares: Floats = (below + upto) / (2 * len(known))
    return shares


def _aspect(
    name: str, words: tuple[str, ...], before: Floats, now: Floats, each: float, most: float
) -> Aspect:
    old, new = sequence_interval(before, each), sequence_interval(now, each)
    low, high = new.low - old.high, new.high - old.low
    verdict: Verdict = "undecided"
    if low > most or high < -most:
        verdict = "drift"
    elif -most <= low and high <= most:
        verdict = "steady"
    means = [float(scores.mean()) if len(scores) else 0.0 for scores in (before, now)]
    return Aspect(name, words, means[0], means[1], low, high, verdict)
