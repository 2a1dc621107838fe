"""Seed rows → new questions of the same kind → their answers (Wang et al. 2023, "Self-Instruct",
arXiv:2212.10560).

Each round shows the writer eight questions, six of the seeds and two that were written and kept
(more seeds while there are fewer), and asks for new ones. One is kept if its length is that of a
question, it speaks of nothing that a text model cannot see, and its ROUGE-L to every seed and every
question that was kept is below a bound (theirs is 0.7). Then it is answered, after some seeds as
examples of how answers look.

Other than there, questions are asked for as a JSON array and not as a list that goes on, and there
is no division into classification and generation: rows are questions and answers.

Invariant: which questions a round is shown depends on the seed, its number and what the rounds of
the turns before have given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapterworks.builders.data.draws import generator
from adapterworks.builders.data.rows import Message, Row
from adapterworks.builders.endpoints.chat import Chat
from adapterworks.builders.endpoints.comparing import MATERIAL, marked
from adapterworks.builders.evaluation.metrics.overlap import tokens
from adapterworks.builders.synthesis.answering import Answering
from adapterworks.builders.synthesis.checks import Checks
from adapterworks.builders.synthesis.judging import fitting
from adapterworks.builders.synthesis.making import Asking, Turn
from adapterworks.builders.synthesis.novelty import Questions
from adapterworks.builders.synthesis.prompts import read_texts
from adapterworks.builders.synthesis.seeds import shared, written
from adapterworks.manifests.digests import digest_json

_OF_SEEDS, _OF_MADE = 6, 2
_ASKED = 8  # questions a round
_EXAMPLES = 3
_TOKENS = 1536
_FEWEST_WORDS, _MOST_WORDS = 3, 150
_TASK = (
    "You write questions for training. Between the marks are {shown} questions of one kind. Write "
    "{count} new ones that could stand among them: of the same kind, form and language, about "
    "other things, each complete by itself, and none like another. Answer with a JSON array of "
    "strings and nothing else. {material}"
)
# What a model of texts cannot see or do, unless the seeds speak of it too; the paper's list.
_UNSEEN = frozenset(
    ["image", "images", "picture", "pictures", "graph", "graphs", "photo", "video", "draw", "plot"]
)


class SelfInstruct:
    """New questions like some seeds'; its items are the numbers of rounds, which have no end.

    Args:
        seeds: at least one.
    """

    name = "self-instruct"
    reasons = ("unread", "unfit", "novelty", "against", "empty", "cut", "verifier", "judge")
    at_once = 4

    def __init__(self, seeds: Sequence[Row], checks: Checks, answering: Answering) -> None:
        self.seeds, self.checks, self.answering = seeds, checks, answering
        self._questions = Questions(checks.novelty, [seed.question for seed in seeds])
        self._made: list[Row] = []
        self._unseen = _UNSEEN.difference(*(tokens(seed.question) for seed in seeds))
        self._columns = shared(seeds) if checks.reads_columns else {}

    def turn(self, items: Sequence[int], asking: Asking) -> Turn:
        """The rows of some rounds that stand the checks."""
        rounds = [self._shown(number) for number in items]
        said = asking.write([self._asking(shown, number) for shown, number in rounds])
        new = []
        for (shown, _), one in zip(rounds, said, strict=False):
            texts = read_texts(one.text)[:_ASKED]
            if not texts:
                asking.leave_out("unread")
            new += [self._row(text, shown, asking) for text in self._new(texts, asking)]
        new = [row for row in new if self.checks.allowed(row, asking)]
        said_of = asking.write([self.answering.of(self._turns(row)) for row in new])
        rows = self.answering.taken(new, said_of, asking)
        again = [self.answering.again(self._turns(row)) for row in rows]
        rows = self.checks.verified(rows, again, asking)
        rows = self.checks.judged(rows, [fitting(row) for row in rows], asking)
        self._questions.settle(rows)
        self._made += rows
        return Turn(len(said), rows)

    def _shown(self, number: int) -> tuple[list[Row], int]:
        """The questions that a round is shown."""
        draw = generator(self.answering.seed, self.name, number)
        made = min(_OF_MADE, len(self._made))
        of_seeds = min(len(self.seeds), _OF_SEEDS + _OF_MADE - made)
        places = [self.seeds[at] for at in draw.permutation(len(self.seeds))[:of_seeds]]
        places += [self._made[at] for at in draw.permutation(len(self._made))[:made]]
        return [places[at] for at in draw.permutation(len(places))], number

    def _asking(self, shown: Sequence[Row], number: int) -> Chat:
        parts = [(f"QUESTION {at}", row.question) for at, row in enumerate(shown, 1)]
        return self.answering.drawn(_inventing(parts), number)

    def _new(self, texts: Sequence[str], asking: Asking) -> Iterator[str]:
        for text in texts:
            words = tokens(text)
            if not _FEWEST_WORDS <= len(words) <= _MOST_WORDS or self._unseen.intersection(words):
                asking.leave_out("unfit")
            elif not self._questions.add(text):
                asking.leave_out("novelty")
            else:
                yield text

    def _row(self, question: str, shown: Sequence[Row], asking: Asking) -> Row:
        """Not answered yet."""
        known = {seed.digest for seed in self.seeds}
        return written(
            self.seeds[0],
            question,
            {
                **self._columns,
                "strategy": self.name,
                "seeds": [row.digest for row in shown if row.digest in known],
                "model": asking.writer.name,
                "prompt_digest": digest_json(_inventing([]).fields()),
            },
        )

    def _turns(self, row: Row) -> list[Message]:
        """Its question after some seeds, which show how an answer looks."""
        draw = generator(self.answering.seed, self.name, row.question)
        turns: list[Message] = [turn for turn in row.prompt if turn["role"] == "system"]
        for at in draw.permutation(len(self.seeds))[:_EXAMPLES]:
            turns += [
                {"role": "user", "content": self.seeds[at].question},
                {"role": "assistant", "content": self.seeds[at].answer},
            ]
        return [*turns, {"role": "user", "content": row.question}]


def _inventing(parts: Sequence[tuple[str, str]]) -> Chat:
    task = _TASK.format(shown=len(parts), count=_ASKED, material=MATERIAL)
    return marked(task, parts, _TOKENS)
