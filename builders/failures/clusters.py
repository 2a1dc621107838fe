"""Failures that are alike are one cluster; those with the most traffic come first.

Questions are vectors of hashed pieces of two to four characters, weighted by rarity (tf-idf), so
that a template counts for little and languages without spaces need no other tokenizer; clusters are
merged while their mean cosine distance is below a bound (average linkage, Sokal & Michener 1958).

Invariant: a function of the failures and the traffic alone; ties are in the order of the failures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from adapterworks.builders.failures.failure import Failure

DISTANCE = 0.8
SHARE = 0.2
_FEATURES = 2**18
_MOST = 4000  # failures that are compared with each other; more are divided by k-means first
_WORDS = 3
_AT_ONCE = 2**23  # similarities that are held at once


@dataclass(frozen=True)
class Cluster:
    """Failures that are alike.

    Attributes:
        number: from 1, by traffic.
        words: what its questions have in common and others do not.
        failures: nearest to the cluster's middle first.
        traffic: how many questions are nearest to it, right or wrong; its failures where no traffic
            is known.
        first: whether it is among the clusters that matter first.
    """

    number: int
    words: tuple[str, ...]
    failures: tuple[Failure, ...]
    traffic: int
    first: bool


def cluster(
    failures: Sequence[Failure],
    traffic: Sequence[str] = (),
    *,
    distance: float = DISTANCE,
    share: float = SHARE,
) -> list[Cluster]:
    """Clusters, those with the most traffic first.

    Args:
        traffic: every question that was asked, the failures among them.
        distance: cosine distance up to which clusters are merged (0–1).
        share: of the clusters that matter first, at least one.
    """
    if not failures:
        return []
    texts = [failure.question for failure in failures]
    space = Space([*texts, *traffic])
    vectors = space.of(texts)
    labels = _labels(vectors, distance)
    members = [np.flatnonzero(labels == label) for label in range(int(labels.max()) + 1)]
    middles = _middles(vectors, labels, len(members))
    counts = [len(index) for index in members]
    if traffic:
        counts = _counts(space.of(traffic), middles, 1 - distance)
    order = sorted(range(len(members)), key=lambda at: (-counts[at], -len(members[at]), at))
    first = max(1, ceil(share * len(order)))
    return [
        Cluster(
            number,
            space.words(middles, at, texts, members[at]),
            tuple(failures[i] for i in _by_nearness(vectors, middles[at], members[at])),
            counts[at],
            number <= first,
        )
        for number, at in enumerate(order, start=1)
    ]


class Space:
    """Texts as unit vectors of their pieces; what is rare among `known` weighs more."""

    def __init__(self, known: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

        self._pieces = HashingVectorizer(
            analyzer="char_wb", ngram_range=(2, 4), n_features=_FEATURES, alternate_sign=False,
            norm=None,
        )  # fmt: skip
        self._weights = TfidfTransformer(sublinear_tf=True).fit(self._pieces.transform(known))

    def of(self, texts: Sequence[str]) -> Any:
        """[texts, features], sparse, rows of length 1 (or 0 for a text without a piece)."""
        return self._weights.transform(self._pieces.transform(texts))

    def words(
        self, middles: Any, at: int, texts: Sequence[str], members: np.ndarray
    ) -> tuple[str, ...]:
        """The words of a cluster's texts that are nearest to its middle and not to the others'.

        Args:
            middles: [clusters, features], sparse or dense.
        """
        found = dict.fromkeys(
            word for index in members[:50] for word in texts[index].casefold().split()
        )
        words = [word.strip(".,;:!?\"'()") for word in found]
        words = [word for word in dict.fromkeys(words) if len(word) > 1]
        if not words:
            return ()
        near = self.of(words) @ middles.T
        near = near if isinstance(near, np.ndarray) else near.toarray()
        own = near[:, at]
        others = np.delete(near, at, axis=1).max(axis=1) if near.shape[1] > 1 else 0.0
        best = np.argsort(-(own - others), kind="stable")[:_WORDS]
        return tuple(words[index] for index in best)


class Pool:
    """Texts among which what is like failures is looked for; they are made vectors once.

    Args:
        known: all failures that will be looked for.
    """

    def __init__(self, texts: Sequence[str], known: Sequence[Failure]) -> None:
        self._space = Space([*texts, *(failure.question for failure in known)])
        self._vectors = self._space.of(texts)

    def nearest(
        self, failures: Sequence[Failure], *, each: int, distance: float = DISTANCE
    ) -> list[int]:
        """The texts that are most like the failures: positions, each once, in order.

        Args:
            each: how many for every failure, at most.
            distance: cosine distance beyond which none is alike, below 1.
        """
        found: set[int] = set()
        asked = self._space.of([failure.question for failure in failures])
        for part in _parts(asked, self._vectors.shape[0]):
            near = (part @ self._vectors.T).tocsr()
            near.sort_indices()  # of those that are as near the first
            for begin, end in zip(near.indptr, near.indptr[1:], strict=False):
                places, values = near.indices[begin:end], near.data[begin:end]
                alike = values >= 1 - distance
                order = np.argsort(-values[alike], kind="stable")[:each]
                found.update(int(place) for place in places[alike][order])
        return sorted(found)


def _labels(vectors: Any, distance: float) -> np.ndarray:
    """A cluster's number for each vector; numbers are in the order of their first members."""
    from sklearn.cluster import AgglomerativeClustering, MiniBatchKMeans

    count = vectors.shape[0]
    if count == 1:
        return np.zeros(1, dtype=int)
    if count > _MOST:
        model = MiniBatchKMeans(n_clusters=round((count / 2) ** 0.5), random_state=0, n_init=1)
        found = model.fit_predict(vectors)
    else:
        similarity = (vectors @ vectors.T).toarray()
        model = AgglomerativeClustering(
            n_clusters=None, metric="precomputed", linkage="average", distance_threshold=distance
        )
        found = model.fit_predict(np.clip(1 - similarity, 0, None))
    numbers = {label: number for number, label in enumerate(dict.fromkeys(found.tolist()))}
    return np.array([numbers[label] for label in found.tolist()])


def _middles(vectors: Any, labels: np.ndarray, count: int) -> Any:
    """[clusters, features], sparse, rows of length 1: dense, a cluster would take 2 MiB."""
    from scipy.sparse import csr_matrix
    from sklearn.preprocessing import normalize

    member = csr_matrix(
        (np.ones(len(labels)), (labels, np.arange(len(labels)))), (count, len(labels))
    )
    return normalize(member @ vectors)


def _counts(traffic: Any, middles: Any, bound: float) -> list[int]:
    """How many texts are nearest to each middle, and no farther than a bound (a similarity)."""
    counts = np.zeros(middles.shape[0], dtype=int)
    for part in _parts(traffic, middles.shape[0]):
        near = (part @ middles.T).toarray()
        likest = near.argmax(axis=1)[near.max(axis=1) >= bound]
        counts += np.bincount(likest, minlength=len(counts))
    return [int(count) for count in counts]


def _parts(vectors: Any, others: int) -> Iterator[Any]:
    """The rows in parts that can be held against others at once."""
    step = max(1, _AT_ONCE // max(1, others))
    for begin in range(0, vectors.shape[0], step):
        yield vectors[begin : begin + step]


def _by_nearness(vectors: Any, middle: Any, members: np.ndarray) -> list[int]:
    near = (vectors[members] @ middle.T).toarray().ravel()
    return [int(members[index]) for index in np.argsort(-near, kind="stable")]
