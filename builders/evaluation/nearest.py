"""The nearest training row as a subject: what a look-up answers, without a model.

An adapter that does not beat it has learnt nothing that a search over its own training rows would
not give. Questions are bags of overlapping pieces of one to four characters, which suits languages
with and without spaces; a piece weighs 1 + log(count), times its inverse document frequency; the
nearest is the one with the largest cosine (Salton & Buckley 1988, weighting `ltc`).

Invariant: a function of the rows alone; of equally similar ones the first is taken. Training rows
are read twice and a few at a time: what is held of all of them is how often each piece occurs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapterworks.builders.data.reasoning import as_spoken
from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.manifests.errors import InvalidInput

_LONGEST = 4  # characters of a piece
_AT_ONCE = 256  # training questions that are held as vectors
_LIKENESSES = 2**22  # of training and asked questions that are held


def nearest_answers(train: Sequence[Row], rows: Sequence[Row]) -> list[Prediction]:
    """For each row the answer of the training row whose question is most like its own.

    Raises:
        InvalidInput: no training row has a question and an answer.
    """
    known = [at for at, row in enumerate(train) if row.text is None]
    if not known:
        raise InvalidInput(
            "no training row has a question, so none can be the nearest",
            hint='set `evaluate.baseline = "none"`',
        )
    space = Space(train[at].question for at in known)
    asked = space.of([row.question for row in rows])
    size = max(1, min(_AT_ONCE, _LIKENESSES // max(1, len(rows))))
    parts = ([train[at].question for at in some] for some in _parts(known, size))
    found = nearest(asked, (space.of(questions) for questions in parts))
    return [Prediction(as_spoken(train[known[at]]).answer) for at in found]


def nearest(asked: Any, known: Iterable[Any]) -> NDArray[np.int64]:
    """For each vector the number of the most similar known one, of equals the first.

    Args:
        asked: [n, pieces], sparse.
        known: parts of [m, pieces], sparse, rows of length 1.
    """
    best, place = np.full(asked.shape[0], -1.0), np.zeros(asked.shape[0], dtype=np.int64)
    first = 0
    for part in known:
        likeness = (asked @ part.T).toarray()
        nearby = likeness.argmax(axis=1)
        value = likeness[np.arange(len(nearby)), nearby]
        better = value > best
        best[better], place[better] = value[better], first + nearby[better]
        first += part.shape[0]
    return place


class Space:
    """Texts as unit vectors of their pieces; what is rare among the known weighs more."""

    def __init__(self, known: Iterable[str]) -> None:
        from sklearn.feature_extraction.text import CountVectorizer

        count, found = 0, Counter[str]()
        for count, text in enumerate(known, 1):  # noqa: B007
            found.update(set(_pieces(text)))
        occurs = np.fromiter(found.values(), dtype=np.float64, count=len(found))
        self._rarity = np.log((1 + count) / (1 + occurs)) + 1
        # A text without a piece is like nothing, and a vocabulary needs one.
        self._counts = CountVectorizer(
            analyzer=_pieces, vocabulary=list(found) or [""], dtype=np.float64
        )

    def of(self, texts: Sequence[str]) -> Any:
        """[texts, pieces], sparse, rows of length 1 (or 0 for a text without a known piece)."""
        from sklearn.preprocessing import normalize

        counts = self._counts.transform(texts)
        counts.data = (1 + np.log(counts.data)) * self._rarity[counts.indices]
        return normalize(counts, copy=False)


def _parts(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for begin in range(0, len(numbers), size):
        yield numbers[begin : begin + size]


def _pieces(text: str) -> list[str]:
    shown = " ".join(text.casefold().split())
    return [
        shown[at : at + size]
        for size in range(1, _LONGEST + 1)
        for at in range(len(shown) - size + 1)
    ]
