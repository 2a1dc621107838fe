"""Graders for a gateway, by builders' own code: the two do not know each other, and meet here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.graders import Graded, Grader, PythonGrader, ScoreModel
from adapterworks.manifests.grading import Question, Ran
from adapterworks.manifests.installing import install

# Somebody waits for the answer, and the machine is a gateway's.
_SECONDS, _MEMORY = 5, 256 << 20


class BuildersGrading:
    """`Grading`, as rewards of a build are computed."""

    def grade(
        self, grader: Grader, answer: str, item: Mapping[str, Any], external: Mapping[str, float]
    ) -> Graded:
        """As `Grading.grade`."""
        from adapterworks.builders.objectives.grading import grade_answer

        try:
            return grade_answer(grader, answer, item, external)
        except ModuleNotFoundError as error:
            raise InvalidInput(
                f"this gateway does not compare texts: `{error.name}` is not installed beside it",
                hint=f"`string_check` needs nothing; whoever runs it: {install('build')}",
            ) from error

    def refusal(self) -> str | None:
        """As `Grading.refusal`."""
        from adapterworks.builders.rewards.sandbox import refusal

        return refusal()

    def run(self, grader: PythonGrader, answer: str, item: Mapping[str, Any], waits: float) -> Ran:
        """As `Grading.run`."""
        from adapterworks.builders.rewards.python_grader import sample_of, value_of
        from adapterworks.builders.rewards.sandbox import Limits

        bounds = Limits(_SECONDS, _MEMORY, waits)
        return value_of(grader.source, sample_of(answer), item, bounds)

    def question(
        self,
        grader: ScoreModel,
        answer: str,
        item: Mapping[str, Any],
        labels: Sequence[str] = (),
    ) -> Question:
        """As `Grading.question`."""
        from adapterworks.builders.objectives.graders import MOST_TEXT, filled_length, texts_of
        from adapterworks.builders.rewards.pointwise import asking

        columns = texts_of(item)
        low, high = grader.range
        ends = f"`Score: N`, N a number from {low:g} to {high:g}"
        if labels:
            ends = f"`Label: L`, L one of {', '.join(f'`{label}`' for label in labels)}"
        if sum(filled_length(turn.content, answer, columns) for turn in grader.input) > MOST_TEXT:
            raise InvalidInput(
                f"the grader's texts come to more than {MOST_TEXT} characters once they are "
                "filled in"
            )
        chat = asking(grader, answer, columns, ends)
        return Question(
            chat.messages, chat.max_tokens, chat.temperature, chat.top_p, chat.seed or 0
        )

    def score(self, grader: ScoreModel, text: str) -> float | None:
        """As `Grading.score`."""
        from adapterworks.builders.rewards.pointwise import read_score

        return read_score(text, *grader.range)
