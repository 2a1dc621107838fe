"""Seed rows → the same questions in other words, with the same answers.

What must not change is looked at where it can be: every number of the question is in the paraphrase
and no other one. Whether the meaning stayed, a judge says; without one, vectors of the texts
(`failures/clusters.py`) do: of all seeds, one with the same answer must be nearest to the
paraphrase, and the seed itself near enough.

Invariant: an answer is its seed's, unchanged, and so are its columns; all paraphrases of a seed are
of the seed's group, so that no split divides them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from adapterworks.builders.data.rows import Message, Row
from adapterworks.builders.data.wording import alike
from adapterworks.builders.endpoints.chat import Chat
from adapterworks.builders.endpoints.comparing import MATERIAL, marked
from adapterworks.builders.failures.clusters import Space
from adapterworks.builders.synthesis.answering import Answering
from adapterworks.builders.synthesis.checks import Checks
from adapterworks.builders.synthesis.judging import same
from adapterworks.builders.synthesis.making import Asking, Turn
from adapterworks.builders.synthesis.novelty import Questions
from adapterworks.builders.synthesis.prompts import read_texts
from adapterworks.builders.synthesis.seeds import columns
from adapterworks.manifests.digests import digest_json

LIKENESS = 0.2
_TOKENS = 1024
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_TASK = (
    "Write the question between the marks in {count} other ways, as different people would ask it: "
    "other words, another order, formal or casual. Each asks exactly the same: keep every fact, "
    "number, name and condition, add none, and keep the language. Do not answer it. Answer with a "
    "JSON array of strings and nothing else. {material}"
)


class Paraphrase:
    """The same questions in other words.

    Args:
        seeds: at least one; its items.
        each: paraphrases of a seed, at most.
        likeness: cosine of a paraphrase's and its seed's vectors from which they may mean the same,
            where no judge says so.
        at_once: seeds that are asked about together.
    """

    name = "paraphrase"
    reasons = ("unread", "novelty", "against", "numbers", "meaning", "verifier", "judge")

    def __init__(
        self,
        seeds: Sequence[Row],
        checks: Checks,
        answering: Answering,
        *,
        each: int = 3,
        likeness: float = LIKENESS,
        at_once: int = 8,
    ) -> None:
        self.checks, self.answering, self.each, self.at_once = checks, answering, each, at_once
        self._questions = Questions(checks.novelty, [seed.question for seed in seeds])
        self._meaning = _Meaning(seeds, likeness)

    def turn(self, items: Sequence[Row], asking: Asking) -> Turn:
        """The paraphrases of some seeds that stand the checks."""
        said = asking.write(
            [self.answering.drawn(_writing(seed.question, self.each), 0) for seed in items]
        )
        found: list[tuple[Row, Row]] = []
        for seed, one in zip(items, said, strict=False):
            texts = read_texts(one.text)[: self.each]
            if not texts:
                asking.leave_out("unread")
            found += [(seed, row) for row in self._kept(seed, texts, asking)]
        rows = [row for _, row in found]
        again = [self.answering.again(row.prompt) for row in rows]
        rows = self.checks.verified(rows, again, asking)
        seeds = {row.digest: seed for seed, row in found}
        chats = [same(seeds[row.digest], row) for row in rows]
        rows = self.checks.judged(rows, chats, asking)
        self._questions.settle(rows)
        return Turn(len(said), rows)

    def _kept(self, seed: Row, texts: Sequence[str], asking: Asking) -> Iterator[Row]:
        for text in texts:
            row = self._row(seed, text, asking)
            if _numbers(text) != _numbers(seed.question):
                asking.leave_out("numbers")
            elif asking.judge is None and not self._meaning.stayed(seed, text):
                asking.leave_out("meaning")
            elif not self._questions.add(text):
                asking.leave_out("novelty")
            elif self.checks.allowed(row, asking):
                yield row

    def _row(self, seed: Row, text: str, asking: Asking) -> Row:
        question: Message = {"role": "user", "content": text}
        meta = {
            "group": seed.digest,
            **columns(seed),
            "strategy": self.name,
            "seed": seed.digest,
            "model": asking.writer.name,
            "prompt_digest": digest_json(_writing("", self.each).fields()),
        }
        return replace(seed, messages=(*seed.messages[:-2], question, seed.messages[-1]), meta=meta)


class _Meaning:
    """Which seed a text is nearest to, by vectors that are made here."""

    def __init__(self, seeds: Sequence[Row], least: float) -> None:
        self._seeds, self._least = seeds, least
        self._space = Space([seed.question for seed in seeds])
        self._vectors = self._space.of([seed.question for seed in seeds])
        self._at = {seed.digest: at for at, seed in enumerate(seeds)}

    def stayed(self, seed: Row, text: str) -> bool:
        """Whether a seed's paraphrase can mean the same."""
        near = (self._vectors @ self._space.of([text]).T).toarray().ravel()
        own = near[self._at[seed.digest]]
        best = self._seeds[int(near.argmax())]
        return bool(own >= self._least) and alike(best.answer) == alike(seed.answer)


def _numbers(text: str) -> Counter[str]:
    return Counter(_NUMBER.findall(text))


def _writing(question: str, count: int) -> Chat:
    return marked(_TASK.format(count=count, material=MATERIAL), [("QUESTION", question)], _TOKENS)
