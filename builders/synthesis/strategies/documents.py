"""Passages → questions and answers, each with the words of its passage that prove it.

Invariant: a pair whose evidence does not stand in its passage, word by word, is no row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.endpoints.asking import PARALLEL
from adapterworks.builders.endpoints.chat import Answer
from adapterworks.builders.synthesis.checks import Checks
from adapterworks.builders.synthesis.making import Asking, Turn
from adapterworks.builders.synthesis.novelty import Questions
from adapterworks.builders.synthesis.passages import Passage
from adapterworks.builders.synthesis.prompts import (
    Written,
    judging,
    prompt_digest,
    read_pairs,
    writing,
)


class Documents:
    """Questions that a passage answers by itself.

    Args:
        per_passage: pairs, at most.
        at_once: passages that are asked about together.
    """

    name = "documents"
    reasons = ("unread", "evidence", "novelty", "against", "judge")

    def __init__(self, checks: Checks, per_passage: int = 3, at_once: int = PARALLEL) -> None:
        self.checks, self.per_passage, self.at_once = checks, per_passage, at_once
        self._questions = Questions(checks.novelty)

    def turn(self, items: Sequence[Passage], asking: Asking) -> Turn:
        """The pairs of some passages that stand the checks."""
        written = asking.write([writing(one.text, self.per_passage) for one in items])
        rows, chats = [], []
        for passage, said in zip(items, written, strict=False):
            for pair in self._proved(passage, said, asking):
                row = self._row(passage, pair, asking)
                if self.checks.allowed(row, asking):
                    rows.append(row)
                    chats.append(judging(passage.text, pair))
        rows = self.checks.judged(rows, chats, asking)
        self._questions.settle(rows)
        return Turn(len(written), rows)

    def _proved(self, passage: Passage, said: Answer, asking: Asking) -> Iterator[Written]:
        """The pairs whose evidence is in the passage, word by word, and whose question is new."""
        pairs = read_pairs(said.text)[: self.per_passage]
        if not pairs:
            asking.leave_out("unread")
        text = _spaced(passage.text)
        for pair in pairs:
            if _spaced(pair.evidence) not in text:
                asking.leave_out("evidence")
            elif not self._questions.add(pair.question):
                asking.leave_out("novelty")
            else:
                yield pair

    def _row(self, passage: Passage, pair: Written, asking: Asking) -> Row:
        page = {} if passage.page is None else {"page": passage.page}
        return chat(
            pair.question,
            pair.answer,
            strategy=self.name,
            document=passage.document,
            **page,
            passage=passage.text,
            passage_number=passage.number,
            evidence=pair.evidence,
            model=asking.writer.name,
            prompt_digest=prompt_digest(self.per_passage),
        )


def _spaced(text: str) -> str:
    return " ".join(text.split())
