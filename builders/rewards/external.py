"""Rewards that no pure function gives: of a judge at an endpoint, and of Python in a sandbox.

All questions of a step are asked together. An answer that a judge abstains from has its group's
mean, so that it is learnt neither from nor against (`abstaining.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from adapterworks.builders.data.reasoning import as_spoken
from adapterworks.builders.data.rows import Row
from adapterworks.builders.objectives.graders import columns_of
from adapterworks.builders.rewards.abstaining import completed
from adapterworks.builders.rewards.asking import Judge
from adapterworks.builders.rewards.pairwise import pairs, read_pairs
from adapterworks.builders.rewards.pointwise import HIGH, LOW, grading, read_scores, scoring
from adapterworks.builders.rewards.python_grader import sample_of, values_of
from adapterworks.manifests.graders import Grader, PythonGrader, ScoreModel, leaves_of
from adapterworks.manifests.judging import RewardJudge

Texts = Sequence[Sequence[str]]  # [prompts][answers]


@dataclass(slots=True)
class Scored:
    """The external rewards of a step's answers.

    Attributes:
        rewards: [prompts][answers] the judge's own, weighted; 0 without one.
        grades: of each grader, [prompts][answers] its parts that are external, by name.
        metrics: for the step's log.
    """

    rewards: list[list[float]]
    grades: list[list[list[dict[str, float]]]]
    metrics: dict[str, float] = field(default_factory=dict)


class ExternalRewards:
    """Asks the judge, and runs the graders' code.

    Args:
        graders: of the objective.
        judge: who is asked, if somebody is.
    """

    def __init__(self, graders: Sequence[Grader], judge: Judge | None) -> None:
        self.graders, self.judge = graders, judge
        self._asked = self._silent = self._run = self._failed = 0

    def score(self, rows: Sequence[Row], texts: Texts) -> Scored:
        """Of a step's answers.

        Args:
            rows: [prompts].

        Raises:
            Refused, Unavailable: as `Judge.ask` and `sandbox.values_of`.
        """
        self._asked = self._silent = self._run = self._failed = 0
        rewards = self._judged(rows, texts)
        grades: list[list[list[dict[str, float]]]] = []
        for grader in self.graders:
            parts: list[list[dict[str, float]]] = [[{} for _ in group] for group in texts]
            for name, leaf in leaves_of(grader).items():
                if isinstance(leaf, ScoreModel):
                    found = self._graded(leaf, rows, texts)
                elif isinstance(leaf, PythonGrader):
                    found = self._ran(leaf, rows, texts)
                else:
                    continue
                for own, values in zip(parts, found, strict=True):
                    for part, value in zip(own, values, strict=True):
                        part[name] = value
            grades.append(parts)
        metrics = {}
        if self.judge is not None:
            metrics = {"judge_abstained": self._silent / max(1, self._asked)}
            metrics["judge_tokens"] = float(self.judge.paid)
        if self._run:
            metrics["graders_failed"] = self._failed / self._run
        return Scored(rewards, grades, metrics)

    def close(self) -> None:
        """Let the judge's file go."""
        if self.judge is not None:
            self.judge.close()

    def _judged(self, rows: Sequence[Row], texts: Texts) -> list[list[float]]:
        """What the judge gives by itself."""
        nothing = [[0.0] * len(group) for group in texts]
        if self.judge is None:
            return nothing
        table = self.judge.table
        assert isinstance(table, RewardJudge)
        if table.kind == "pairwise":
            found = self._compared(self.judge, rows, texts)
        elif table.kind == "pointwise":
            chats = [
                [scoring(row, text, table.asks) for text in group]
                for row, group in zip(rows, texts, strict=True)
            ]
            scored = self._scored(self.judge, chats, LOW, HIGH)
            found = [[(score - LOW) / (HIGH - LOW) for score in group] for group in scored]
        else:
            return nothing
        return [[table.weight * value for value in group] for group in found]

    def _compared(self, judge: Judge, rows: Sequence[Row], texts: Texts) -> list[list[float]]:
        asked = [pairs(row, group) for row, group in zip(rows, texts, strict=True)]
        said = iter(judge.ask([chat for one in asked for chat in one.chats]))
        found = []
        for one in asked:
            values, silent = read_pairs(one, [next(said) for _ in one.chats])
            self._asked += len(one.places)
            self._silent += silent
            found.append(values)
        return found

    def _graded(self, grader: ScoreModel, rows: Sequence[Row], texts: Texts) -> list[list[float]]:
        assert self.judge is not None  # the manifest's check
        table = self.judge.table
        assert isinstance(table, RewardJudge)
        chats = [
            [grading(grader, text, columns, table.asks) for text in group]
            for columns, group in zip(map(columns_of, rows), texts, strict=True)
        ]
        return self._scored(self.judge, chats, *grader.range, model=grader.model)

    def _scored(
        self,
        judge: Judge,
        chats: Sequence[Sequence[Sequence[Any]]],
        low: float,
        high: float,
        *,
        model: str | None = None,
    ) -> list[list[float]]:
        said = iter(
            judge.ask([chat for group in chats for asks in group for chat in asks], model=model)
        )
        found = []
        for group in chats:
            scores = [read_scores([next(said) for _ in asks], low, high) for asks in group]
            self._asked += len(scores)
            self._silent += scores.count(None)
            found.append(completed(scores, (low + high) / 2))
        return found

    def _ran(self, grader: PythonGrader, rows: Sequence[Row], texts: Texts) -> list[list[float]]:
        """What the function returned; 0 where it failed, as OpenAI has it."""
        given = [
            (sample_of(text), item)
            for item, group in zip(map(_item, rows), texts, strict=True)
            for text in group
        ]
        values = values_of(grader.source, given)
        self._run += len(values)
        self._failed += values.count(None)
        each = iter(0.0 if value is None else value for value in values)
        return [list(islice(each, len(group))) for group in texts]


def _item(row: Row) -> Mapping[str, Any]:
    return {"answer": as_spoken(row).answer, "question": row.question, **row.columns}
