"""TruthfulQA, MC1 (Lin et al. 2021): which answer is true; by log-likelihood per byte."""

from __future__ import annotations

from functools import partial
from typing import Any

from adapterworks.builders.evaluation.generator import Generator, Progress
from adapterworks.builders.evaluation.suites.suite import (
    Cases,
    Choice,
    Suite,
    carried,
    multiple_choice,
)


def choice(case: dict[str, Any]) -> Choice:
    """The question and its answers, one of them true."""
    answers = tuple(f" {answer}" for answer in case["choices"])
    return Choice(f"Q: {case['question']}\nA:", answers, case["expected_index"])


def _score(generator: Generator, cases: Cases, progress: Progress | None) -> list[float]:
    return multiple_choice(generator, [choice(case) for case in cases], progress)


SUITE = Suite(
    name="truthfulqa",
    description="Which answer is true (TruthfulQA MC1, 100 rows, likelihood per byte)",
    cases=partial(carried, "truthfulqa_mc1"),
    score=_score,
)
