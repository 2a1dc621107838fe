"""Does what was found say what was answered? Word by word, with the sentence that says it. Pure.

An answer's faithfulness is the largest share of its words that stand in one sentence of its
passages, in their order (the precision of ROUGE-L; Lin 2004). It sees words and not meaning: a
copied sentence is faithful, and so is one that leaves out a "not".

Invariant: an answer without words, or without passages, has no evidence, and counts as 0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from adapterworks.builders.evaluation.metrics.overlap import tokens
from adapterworks.builders.synthesis.passages import Passage

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What says most of an answer.

    Attributes:
        score: 0–1.
        place: document and page, or passage.
    """

    score: float
    place: str = ""
    sentence: str = ""


def evidence(answer: str, passages: Sequence[Passage]) -> Evidence:
    """The sentence that has most of an answer's words; the first of equal ones."""
    said = tokens(answer)
    best = Evidence(0.0)
    if not said:
        return best
    for passage in passages:
        for sentence in _SENTENCE_END.split(passage.text):
            share = _common(said, tokens(sentence)) / len(said)
            if share > best.score:
                best = Evidence(share, place_of(passage), " ".join(sentence.split()))
    return best


def stands_in(reference: str, passages: Sequence[Passage]) -> bool:
    """Whether a passage has a reference answer's words, one after the other."""
    wanted = tokens(reference)
    return bool(wanted) and any(_has(tokens(passage.text), wanted) for passage in passages)


def place_of(passage: Passage) -> str:
    """Where a passage is, for people."""
    at = f"passage {passage.number}" if passage.page is None else f"page {passage.page}"
    return f"{passage.document}, {at}"


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    above = [0] * (len(second) + 1)
    for word in first:
        row = [0]
        for at, other in enumerate(second, start=1):
            row.append(above[at - 1] + 1 if word == other else max(row[-1], above[at]))
        above = row
    return above[-1]


def _has(text: Sequence[str], wanted: Sequence[str]) -> bool:
    size = len(wanted)
    return any(text[at : at + size] == wanted for at in range(len(text) - size + 1))
