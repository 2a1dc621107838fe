"""Is a written question one of a test set's? Then a score on that test set would say nothing.

Recognised as sealed test rows are (`data/gates/seals.py`): by the share of a test question's word
5-grams that are in it, those aside that many test questions have.

Invariant: what is said of a question does not depend on the questions beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapterworks.builders.data.gates.seals import (
    THRESHOLD,
    Index,
    make_seal,
    questions,
    read_seal,
)
from adapterworks.builders.data.rows import Row


class Against:
    """Test sets that nothing is written of.

    Args:
        sets: name → rows.
        threshold: share of a test question's 5-grams (0–1) from which it is that question.
    """

    def __init__(self, sets: Mapping[str, Sequence[Row]], threshold: float = THRESHOLD) -> None:
        self._threshold = threshold
        self._names = [*sets]
        seals = [read_seal(make_seal(rows), name) for name, rows in sets.items()]
        self._index = Index(seals)

    def found(self, row: Row) -> str | None:
        """The name of the test set that has the row's question; None if none has it."""
        best = self._index.best(questions([row]).document(0))
        if best is None or best[0] < self._threshold:
            return None
        return self._names[best[1]]
