"""The nearest training row as a subject: what a look-up answers, without a model.

An adapter that does not beat it has learnt nothing that a search over its own training rows would
not give. Questions are bags of overlapping pieces of one to four characters, which suits languages
with and without spaces; a piece weighs 1 + log(count), times its inverse document frequency; the
nearest is the one with the largest cosine (Salton & Buckley 1988, weighting `ltc`).

Invariant: a function of the rows alone; of equally similar ones the first is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from adapterworks.builders.data.reasoning import as_spoken
from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.metric import Floats, Prediction
from adapterworks.manifests.errors import InvalidInput

_LONGEST = 4  # characters of a piece


def nearest_answers(train: Sequence[Row], rows: Sequence[Row]) -> list[Prediction]:
    """For each row the answer of the training row whose question is most like its own.

    Raises:
        InvalidInput: no training row has a question and an answer.
    """
    known = [row for row in train if row.text is None]
    if not known:
        raise InvalidInput(
            "no training row has a question, so none can be the nearest",
            hint='set `evaluate.baseline = "none"`',
        )
    index = _Index([row.question for row in known])
    return [Prediction(as_spoken(known[index.nearest(row.question)]).answer) for row in rows]


class _Index:
    """Training questions by their pieces: piece → (numbers of the questions, weights in them)."""

    def __init__(self, texts: Sequence[str]) -> None:
        counted = [_pieces(text) for text in texts]
        self._size = len(texts)
        entries = sorted(
            (piece, number, count)
            for number, pieces in enumerate(counted)
            for piece, count in pieces.items()
        )
        self._rarity: dict[str, float] = {}
        self._postings: dict[str, tuple[Floats, Floats]] = {}
        squares = np.zeros(self._size)
        for piece, group in groupby(entries, key=lambda entry: entry[0]):
            found = [*group]
            numbers = np.asarray([number for _, number, _ in found])
            rarity = float(np.log((1 + self._size) / (1 + len(found))) + 1)
            weights = (1 + np.log([count for _, _, count in found])) * rarity
            squares[numbers] += weights**2
            self._rarity[piece], self._postings[piece] = rarity, (numbers, weights)
        self._norms = np.sqrt(np.maximum(squares, np.finfo(np.float64).tiny))

    def nearest(self, text: str) -> int:
        """The number of the most similar question."""
        dots = np.zeros(self._size)
        for piece, count in _pieces(text).items():
            if piece in self._postings:
                numbers, weights = self._postings[piece]
                dots[numbers] += weights * (1 + np.log(count)) * self._rarity[piece]
        # The norm of the asked one is the same for all.
        return int(np.argmax(dots / self._norms))


def _pieces(text: str) -> Counter[str]:
    shown = " ".join(text.casefold().split())
    return Counter(
        shown[at : at + size]
        for size in range(1, _LONGEST + 1)
        for at in range(len(shown) - size + 1)
    )
