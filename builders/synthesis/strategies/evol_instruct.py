"""Seed rows → harder or other questions, step by step, with their answers (Xu et al. 2023,
"WizardLM", arXiv:2304.12244).

    question → (one of five operations) → evolved question → answer → the next round goes on from it

Four operations deepen (constraints, depth, concreteness, steps of reasoning) and one broadens
(another question of the domain). An evolution that failed is eliminated, and the question goes into
the next round as it was: where it gains nothing over the one before, where the answer refuses (it
is short and has "sorry" in it), where the answer says nothing but punctuation and empty words, and
where words of the task itself were copied into the question. That it gains nothing is said by the
judge, or the writer, who is asked whether both ask for the same, and by ROUGE-L to every seed and
every question that was kept.

Invariant: which operation comes to a question depends on its seed's digest, the round and the seed
of the draws, whatever stands around it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from adapterworks.builders.data.draws import generator
from adapterworks.builders.data.rows import Row
from adapterworks.builders.endpoints.chat import Chat
from adapterworks.builders.endpoints.comparing import MATERIAL, marked
from adapterworks.builders.evaluation.metrics.overlap import tokens
from adapterworks.builders.synthesis.answering import Answering
from adapterworks.builders.synthesis.checks import Checks
from adapterworks.builders.synthesis.judging import fitting
from adapterworks.builders.synthesis.making import Asking, Turn
from adapterworks.builders.synthesis.novelty import Questions
from adapterworks.builders.synthesis.seeds import columns, written
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.endings import ending_of

_TOKENS = 768
_VERDICT_TOKENS = 256
_HOW = (
    "It must stay reasonable, be understood and answered by people, and be complete by itself. "
    "Keep the language. Answer with the new question alone, without a word about it. {material}"
)
OPERATIONS = {
    "constrain": (
        "Write the question between the marks anew, with one more constraint or requirement, in at "
        "most twenty more words. "
    ),
    "deepen": (
        "Write the question between the marks anew so that it asks more deeply and broadly about "
        "what it asks about, in at most twenty more words. "
    ),
    "concretise": (
        "Write the question between the marks anew with more specific concepts in place of general "
        "ones, in at most twenty more words. "
    ),
    "reason": (
        "Write the question between the marks anew so that it cannot be answered by one simple "
        "thought, but takes several steps of reasoning, in at most twenty more words. "
    ),
    "broaden": (
        "Write another question of the same domain as the one between the marks, about something "
        "rarer, of similar length and difficulty. "
    ),
}
_EQUAL = (
    "You are shown two questions. Say whether they have the same constraints and requirements, and "
    "the same depth and breadth. End with a line that is exactly `Verdict: equal` or `Verdict: not "
    "equal`. {material}"
)
_VERDICT = re.compile(r"^\W*verdict\W+(not equal|equal)\W*$", re.IGNORECASE | re.MULTILINE)
# Words of the tasks above, and of the paper's, that a question has only where they were copied.
_COPIED = re.compile(
    r"#{3}|between the marks|\b(?:given|new|rewritten|evolved) (?:question|prompt)\b|"
    r"\bnot instructions to you\b",
    re.IGNORECASE,
)
_SHORT_WORDS = 80  # a refusal that is longer says something besides
_REFUSES = re.compile(r"\bsorry\b", re.IGNORECASE)
# Of an answer that consists of these alone, and of punctuation, nothing can be learnt.
_EMPTY_WORDS = (
    "a an and are as at be but by for from has have i if in is it its no not of on or so that the "
    "their there they this to was we were will with you your"
)


class EvolInstruct:
    """Seeds' questions, made harder or other in rounds; its items are the seeds.

    Args:
        rounds: evolutions of each question, one after the other.
    """

    name = "evol-instruct"
    reasons = (
        *("cut", "empty", "copied", "novelty", "against", "equal", "refused"),
        *("verifier", "judge"),
    )
    at_once = 8

    def __init__(
        self, seeds: Sequence[Row], checks: Checks, answering: Answering, rounds: int = 1
    ) -> None:
        self.checks, self.answering, self.rounds = checks, answering, rounds
        self._questions = Questions(checks.novelty, [seed.question for seed in seeds])

    def turn(self, items: Sequence[Row], asking: Asking) -> Turn:
        """The evolutions of some seeds, round after round, that stand the checks."""
        now, rows, begun = [*items], [], 0
        for number in range(1, self.rounds + 1):
            evolved, reached = self._evolved(items, now, number, asking)
            begun = begun or reached
            found = self._answered(self._gaining(now, evolved, asking), asking)
            self._questions.settle(found)
            for row in found:
                now[evolved[row.question][0]] = row
            rows += found
        return Turn(begun, rows)

    def _evolved(
        self, seeds: Sequence[Row], now: Sequence[Row], number: int, asking: Asking
    ) -> tuple[dict[str, tuple[int, Row]], int]:
        """Question → its line and its row, not answered yet; and how many were asked for."""
        operations = [self._operation(seed, number) for seed in seeds]
        said = asking.write(
            [
                self.answering.drawn(_evolving(name, row.question), number)
                for name, row in zip(operations, now, strict=True)
            ]
        )
        found: dict[str, tuple[int, Row]] = {}
        for at, one in enumerate(said):
            text = one.text.strip()
            row = self._row(seeds[at], now[at], text, operations[at], number, asking)
            if one.cut or not text:
                asking.leave_out("cut" if one.cut else "empty")
            elif _COPIED.search(text) and not _COPIED.search(seeds[at].question):
                asking.leave_out("copied")
            elif not self._questions.add(text):
                asking.leave_out("novelty")
            elif self.checks.allowed(row, asking):
                found[text] = at, row
        return found, len(said)

    def _operation(self, seed: Row, number: int) -> str:
        draw = generator(self.answering.seed, self.name, seed.digest, number)
        return [*OPERATIONS][int(draw.integers(len(OPERATIONS)))]

    def _gaining(
        self, now: Sequence[Row], evolved: dict[str, tuple[int, Row]], asking: Asking
    ) -> list[Row]:
        """Those that ask for more than, or for something else than, what they came from."""
        chats = [_comparing(now[at].question, row.question) for at, row in evolved.values()]
        found = []
        said = asking.judged(chats)
        for (_, row), one in zip(evolved.values(), said, strict=False):
            verdicts = _VERDICT.findall(ending_of(one.text))
            if not verdicts or verdicts[-1].lower() == "equal":
                asking.leave_out("equal")
            else:
                found.append(row)
        return found

    def _answered(self, rows: Sequence[Row], asking: Asking) -> list[Row]:
        said = asking.write([self.answering.of(row.prompt) for row in rows])
        answered = []
        for row in self.answering.taken(rows, said, asking):
            words = tokens(row.answer)
            if len(words) < _SHORT_WORDS and _REFUSES.search(row.answer):
                asking.leave_out("refused")
            elif set(words).issubset(_EMPTY_WORDS.split()):
                asking.leave_out("empty")
            else:
                answered.append(row)
        again = [self.answering.again(row.prompt) for row in answered]
        answered = self.checks.verified(answered, again, asking)
        return self.checks.judged(answered, [fitting(row) for row in answered], asking)

    def _row(
        self, seed: Row, now: Row, question: str, operation: str, number: int, asking: Asking
    ) -> Row:
        """Not answered yet."""
        kept = columns(seed) if self.checks.reads_columns else {}
        return written(
            seed,
            question,
            {
                "group": seed.meta.get("group", seed.digest),
                **kept,
                "strategy": self.name,
                "seed": seed.digest,
                "evolved_from": now.digest,
                "operation": operation,
                "round": number,
                "model": asking.writer.name,
                "prompt_digest": digest_json(_evolving(operation, "").fields()),
            },
        )


def _evolving(operation: str, question: str) -> Chat:
    task = OPERATIONS[operation] + _HOW.format(material=MATERIAL)
    return marked(task, [("QUESTION", question)], _TOKENS)


def _comparing(one: str, other: str) -> Chat:
    parts = [("QUESTION A", one), ("QUESTION B", other)]
    return marked(_EQUAL.format(material=MATERIAL), parts, _VERDICT_TOKENS)
