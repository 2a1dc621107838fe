"""Is a question new? ROUGE-L against every one that was kept (Wang et al. 2023, Self-Instruct).

Invariant: a question that is left out by the bound on common words would have passed ROUGE-L too.
"""

from __future__ import annotations

from collections import Counter

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.overlap import ROUGE_L, tokens

MOST = 0.7


class Questions:
    """The questions that were kept.

    Args:
        most: ROUGE-L F (0–1) to any of them from which a question is not new.
    """

    def __init__(self, most: float = MOST) -> None:
        self._most = most
        self._rouge = ROUGE_L
        self._kept: list[tuple[Counter[str], Row]] = []

    def add(self, question: str) -> bool:
        """Keep it if it is new; whether it is."""
        words = Counter(tokens(question))
        for others, row in self._kept:
            # A longest common subsequence has no more words than both have in common.
            common, total = (words & others).total(), words.total() + others.total()
            if 2 * common < self._most * total:
                continue
            if self._rouge.score(question, row) >= self._most:
                return False
        self._kept.append((words, Row(({"role": "assistant", "content": question},))))
        return True
