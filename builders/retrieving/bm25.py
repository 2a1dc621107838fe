"""Which passages a question is about: BM25 (Robertson & Zaragoza 2009, "The Probabilistic Relevance
Framework"). Pure Python; nothing is downloaded and no text leaves the machine.

    score(q, d) = Σ_{t ∈ q} ln(1 + (N − n_t + ½) / (n_t + ½)) · f (k₁ + 1) / (f + k₁ l),
    l = 1 − b + b |d| / mean |d|

Words are those of ROUGE-L here; Chinese, Japanese and Korean characters count by themselves and in
pairs. Invariant: equal scores are in the order of the passages.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from adapterworks.builders.evaluation.metrics.overlap import tokens
from adapterworks.builders.synthesis.passages import Passage

K1, B = 1.2, 0.75
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]")


class Index:
    """Passages by their words."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = tuple(passages)
        counts = [Counter(words(passage.text)) for passage in passages]
        self._lengths = [sum(count.values()) for count in counts]
        self._mean = sum(self._lengths) / max(1, len(counts))
        self._postings: dict[str, list[tuple[int, int]]] = {}
        for at, count in enumerate(counts):
            for word, times in count.items():
                self._postings.setdefault(word, []).append((at, times))

    def best(self, question: str, most: int) -> list[tuple[Passage, float]]:
        """The passages that have words of a question, best first, with their scores."""
        scores: dict[int, float] = {}
        for word in words(question):
            found = self._postings.get(word, ())
            rarity = math.log(1 + (len(self.passages) - len(found) + 0.5) / (len(found) + 0.5))
            for at, times in found:
                long = 1 - B + B * self._lengths[at] / self._mean
                scores[at] = scores.get(at, 0.0) + rarity * times * (K1 + 1) / (times + K1 * long)
        order = sorted(scores, key=lambda at: (-scores[at], at))
        return [(self.passages[at], scores[at]) for at in order[:most]]


def words(text: str) -> list[str]:
    """Words, and pairs of neighbouring characters of scripts without spaces."""
    found = tokens(text)
    pairs = [a + b for a, b in pairwise(found) if _wide(a) and _wide(b)]
    return found + pairs


def _wide(word: str) -> bool:
    return _WIDE.fullmatch(word) is not None
