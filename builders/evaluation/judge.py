"""A model as a judge: which of two answers is better, asked in both orders.

Only a preference that survives the exchange of places (`endpoints/comparing.py`) counts; one that
does not is a tie, as in Zheng et al. 2023. The share of those is told: it says what the judge is
worth.

Invariant: the judge sees the question, the reference answer where the row has one, and the two
answers as A and B, and never who gave them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adapterworks.builders.data.reasoning import as_spoken, spoken
from adapterworks.builders.data.rows import Row
from adapterworks.builders.endpoints.asking import Progress
from adapterworks.builders.endpoints.chat import Answer, Chat
from adapterworks.builders.endpoints.comparing import (
    MATERIAL,
    Verdicts,
    compared,
    conversation,
    read_verdict,
)
from adapterworks.builders.evaluation.comparison import CANDIDATE, groups_of
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.builders.evaluation.report import CONFIDENCE
from adapterworks.builders.evaluation.statistics import mean_gain_interval, sign_p
from adapterworks.builders.rewards.asking import Judge

_TASK = (
    "You compare two answers to the same question. Judge whether they are right and complete, and "
    "do what was asked; a reference answer, where one is given, is right. Neither the order nor "
    "the length of the answers matters. Say in one or two sentences what decides it, and end with "
    f"a line that is exactly `Verdict: A`, `Verdict: B` or `Verdict: tie`. {MATERIAL}"
)
_TOGETHER = 64  # questions between two lines of progress


@dataclass(frozen=True, slots=True)
class Judged:
    """What a judge said.

    Attributes:
        report: the judge, and for each reference how many answers were better (`wins`), worse, or
            neither; `flipped` verdicts that followed the order; `unread` pairs without two
            verdicts, which count as ties; `gain` = (wins − losses) ÷ rows with its 95 % interval,
            and the sign test's p; of rows that name a `group`, both are of groups.
        scores: of each reference, [rows] 1 where the candidate's answer is better, −1, or 0.
    """

    report: dict[str, Any]
    scores: dict[str, list[int]]

    def told(
        self, predictions: Mapping[str, Sequence[Prediction]]
    ) -> dict[str, Sequence[Prediction]]:
        """Each subject's predictions with what was said of them."""
        found = {**predictions}
        for name, scores in self.scores.items():
            found[name] = [
                replace(one, judged=(1 - score) / 2)
                for one, score in zip(predictions[name], scores, strict=True)
            ]
        return found


def judge_answers(
    judge: Judge,
    rows: Sequence[Row],
    predictions: Mapping[str, Sequence[Prediction]],
    *,
    progress: Progress | None = None,
) -> Judged:
    """The candidate's answers beside those of every other subject.

    Raises:
        Refused, Unavailable: as `Judge.ask`.
    """
    references = [name for name in predictions if name != CANDIDATE]
    asked: list[Chat] = []
    places = []
    for name in references:
        for at, row in enumerate(rows):
            ours, theirs = (spoken(predictions[who][at].text) for who in (CANDIDATE, name))
            if ours != theirs:  # the same answer is a tie, without a judge
                asked += comparing(row, ours, theirs)
                places.append((name, at))
    said: list[Answer] = []
    while len(said) < len(asked):
        said += judge.ask(asked[len(said) : len(said) + _TOGETHER])
        if progress:
            progress(len(said), len(asked))
    verdicts = [read_verdict(one.text) for one in said]
    found = dict(zip(places, zip(verdicts[::2], verdicts[1::2], strict=True), strict=True))
    pairs = {name: [found.get((name, at)) for at in range(len(rows))] for name in references}
    report = {
        "url": judge.endpoint.url,
        "model": judge.endpoint.model,
        "endpoint": judge.table.endpoint,
        "asked": len(asked),
        "prompt_tokens": sum(one.prompt_tokens for one in said),
        "completion_tokens": sum(one.completion_tokens for one in said),
        "against": {name: _told(own, rows) for name, own in pairs.items()},
    }
    return Judged(report, {name: [_score(pair) for pair in own] for name, own in pairs.items()})


def _told(pairs: Sequence[Verdicts | None], rows: Sequence[Row]) -> dict[str, Any]:
    scores = np.asarray([_score(pair) for pair in pairs], dtype=np.float64)
    wins, losses = scores > 0, scores < 0
    groups = groups_of(rows)
    bounds = mean_gain_interval(scores, CONFIDENCE, groups)
    return {
        "wins": int(wins.sum()),
        "losses": int(losses.sum()),
        "tied": int((scores == 0).sum()),
        "flipped": sum(pair in (("A", "A"), ("B", "B")) for pair in pairs),
        "unread": sum(pair is not None and None in pair for pair in pairs),
        "gain": float(scores.mean()),
        "low": bounds.low,
        "high": bounds.high,
        "p": sign_p(scores, groups),
    }


def _score(pair: Verdicts | None) -> int:
    """1 if the candidate is better in both orders, −1 if worse in both, else 0."""
    return 1 if pair == ("A", "B") else -1 if pair == ("B", "A") else 0


def comparing(row: Row, ours: str, theirs: str) -> tuple[Chat, Chat]:
    """Ask which of two answers to a row is better, in both orders."""
    parts = [("QUESTION", conversation(row.prompt))]
    if reference := as_spoken(row).answer:
        parts.append(("REFERENCE", reference))
    return compared(_TASK, parts, ours, theirs)
