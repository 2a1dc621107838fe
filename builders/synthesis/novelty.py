"""Is a question new? ROUGE-L against every one that was kept (Wang et al. 2023, Self-Instruct).

Invariant: a question that is left out by the bound on common words would have passed ROUGE-L too;
and one that became no row stands in nobody's way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.overlap import ROUGE_L, tokens

MOST = 0.7


class Questions:
    """The questions that were kept, and those of which it is not settled yet.

    Args:
        most: ROUGE-L F (0–1) to any of them from which a question is not new.
        known: questions that were there before, new among themselves or not.
    """

    def __init__(self, most: float = MOST, known: Iterable[str] = ()) -> None:
        self._most = most
        self._kept = [_Known(question) for question in known]
        self._open: dict[str, _Known] = {}

    def add(self, question: str) -> bool:
        """Take it if it is new; whether it is."""
        new = _Known(question)
        known = (*self._kept, *self._open.values())
        if any(new.is_like(one, self._most) for one in known):
            return False
        self._open[question] = new
        return True

    def settle(self, rows: Iterable[Row]) -> None:
        """Of those that were taken since the last time, keep the questions of rows."""
        self._kept += [self._open[row.question] for row in rows]
        self._open.clear()


class _Known:
    def __init__(self, question: str) -> None:
        self._words = Counter(tokens(question))
        self._text = question
        self._row = Row(({"role": "assistant", "content": question},))

    def is_like(self, other: _Known, most: float) -> bool:
        """Whether ROUGE-L F reaches a bound. A longest common subsequence has no more words than
        both have in common, so that most pairs need not be looked at in order."""
        common, total = (self._words & other._words).total(), (self._words + other._words).total()
        return 2 * common >= most * total and ROUGE_L.score(self._text, other._row) >= most
