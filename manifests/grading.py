"""What a gateway is handed to run graders: what an answer is worth is builders' matter.

Invariant: what a gateway says of an answer is what a build says of it: both compute it here, from
the same code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from adapterworks.manifests.graders import Graded, Grader, PythonGrader, ScoreModel

Item = Mapping[str, Any]
"""A row's columns."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a `python` grader gave.

    Attributes:
        value: None where it failed.
        why: it did, in a sentence that is of its own code alone.
    """

    value: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked for a number, or for a label.

    Attributes:
        messages: roles and texts.
        max_tokens: of its answer.
    """

    messages: Sequence[Mapping[str, str]]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int


class Grading(Protocol):
    """Graders, run on one answer; each call takes seconds at most, or asks nobody."""

    def grade(
        self, grader: Grader, answer: str, item: Item, elsewhere: Mapping[str, float]
    ) -> Graded:
        """What an answer is worth.

        Args:
            elsewhere: what models and code gave, by their names in a formula, else "".

        Raises:
            InvalidInput: the texts are too long, or what compares them is not installed.
        """

    def refusal(self) -> str | None:
        """Why code is not run here; None if it is."""

    def run(self, grader: PythonGrader, answer: str, item: Item, waits: float) -> Ran:
        """What a function gives, run in a sandbox.

        Args:
            waits: seconds of the wall's clock that it may take.
        """

    def question(
        self, grader: ScoreModel, answer: str, item: Item, labels: Sequence[str] = ()
    ) -> Question:
        """What a model is asked.

        Args:
            labels: it is to give one of these, not a number.

        Raises:
            InvalidInput: `item` lacks a column, or the texts are too long.
        """

    def score(self, grader: ScoreModel, text: str) -> float | None:
        """The number in what a model said; None if there is none within the grader's range."""
