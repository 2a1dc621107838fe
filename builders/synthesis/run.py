"""Passages → rows: a generator writes, three checks and a judge choose, within a budget of tokens.

Invariant: a function of the passages, the settings and the answers, in the order of the passages;
so a run that was killed and goes on with the same answers ends as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from adapterworks.builders.data.rows import Row
from adapterworks.builders.endpoints.asking import PARALLEL, Said
from adapterworks.builders.endpoints.budget import Budget
from adapterworks.builders.endpoints.endpoint import Endpoint
from adapterworks.builders.endpoints.kept import KeptAnswers
from adapterworks.builders.synthesis.novelty import Questions
from adapterworks.builders.synthesis.passages import Passage
from adapterworks.builders.synthesis.prompts import (
    Written,
    judging,
    prompt_digest,
    read_pairs,
    read_score,
    writing,
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked for.

    Attributes:
        max_tokens: of prompts and answers, for generator and judge together; never exceeded.
        per_passage: pairs, at most.
        novelty: ROUGE-L from which a question is not new.
        min_score: of the judge's 1–5.
        parallel: requests at once.
    """

    max_tokens: int
    per_passage: int = 3
    novelty: float = 0.7
    min_score: int = 4
    parallel: int = PARALLEL


@dataclass(slots=True)
class Made:
    """What came of it.

    Attributes:
        passages: how many were written from.
        tokens: of the budget, answers that were kept from before included.
        unread: answers in which there is no pair.
        left_out: pairs by the check that they failed: `evidence`, `novelty`, `judge`.
        spent: whether the budget ended it.
    """

    rows: list[Row] = field(default_factory=list)
    passages: int = 0
    tokens: int = 0
    unread: int = 0
    left_out: dict[str, int] = field(
        default_factory=lambda: {"evidence": 0, "novelty": 0, "judge": 0}
    )
    spent: bool = False


def synthesize(
    passages: Sequence[Passage],
    generator: Endpoint,
    judge: Endpoint | None,
    settings: Settings,
    kept: KeptAnswers,
    *,
    most: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Made:
    """Write rows from passages.

    Args:
        judge: scores what passed the checks; None leaves that out.
        kept: what was said before is not asked again, and counts in the budget as if it were.
        most: end with so many rows.
        progress: called with passages done and passages in all.

    Raises:
        Refused, Unavailable: an endpoint refuses, or does not answer; what it said is kept.
    """
    made, questions = Made(), Questions(settings.novelty)
    budget = Budget(settings.max_tokens)
    while made.passages < len(passages) and not budget.spent:
        some = passages[made.passages : made.passages + settings.parallel]
        chats = [writing(passage.text, settings.per_passage) for passage in some]
        written = budget.ask(kept, generator, chats, parallel=settings.parallel)
        made.passages += len(written)
        pairs = [
            (passage, pair)
            for passage, said in zip(some, written, strict=False)
            for pair in _checked(passage, said, settings, questions, made)
        ]
        scores: list[int | None] = [None] * len(pairs)
        if judge is not None:
            asked = [judging(passage.text, pair) for passage, pair in pairs]
            judged = budget.ask(kept, judge, asked, parallel=settings.parallel)
            scores = [read_score(said.text) for said in judged]
        # Pairs that the budget left unjudged are left out with it.
        for (passage, pair), score in zip(pairs, scores, strict=False):
            if judge is not None and (score is None or score < settings.min_score):
                made.left_out["judge"] += 1
                continue
            row = _row(passage, pair, generator, settings)
            made.rows.append(row.with_meta(judge=judge.name, judge_score=score) if judge else row)
        if progress:
            progress(made.passages, len(passages))
        if most is not None and len(made.rows) >= most:
            del made.rows[most:]
            break
    made.tokens, made.spent = budget.tokens, budget.spent
    return made


def _checked(
    passage: Passage, said: Said, settings: Settings, questions: Questions, made: Made
) -> list[Written]:
    """The pairs whose evidence stands in the passage, word by word, and whose question is new."""
    pairs = read_pairs(said.text)[: settings.per_passage]
    made.unread += not pairs
    text, found = _spaced(passage.text), []
    for pair in pairs:
        if _spaced(pair.evidence) not in text:
            made.left_out["evidence"] += 1
        elif not questions.add(pair.question):
            made.left_out["novelty"] += 1
        else:
            found.append(pair)
    return found


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _row(passage: Passage, pair: Written, generator: Endpoint, settings: Settings) -> Row:
    return Row(
        (
            {"role": "user", "content": pair.question},
            {"role": "assistant", "content": pair.answer},
        ),
        {
            "document": passage.document,
            **({} if passage.page is None else {"page": passage.page}),
            "passage": passage.text,
            "passage_number": passage.number,
            "evidence": pair.evidence,
            "model": generator.name,
            "prompt_digest": prompt_digest(settings.per_passage),
        },
    )
