"""HellaSwag (Zellers et al. 2019): which ending continues a scene; by log-likelihood per byte, as
lm-evaluation-harness's `acc_norm`."""

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
    """The scene and its four endings."""
    endings = tuple(f" {ending}" for ending in case["endings"])
    return Choice(f"{case['activity_label']}: {case['ctx']}", endings, case["expected_index"])


def _score(generator: Generator, cases: Cases, progress: Progress | None) -> list[float]:
    return multiple_choice(generator, [choice(case) for case in cases], progress)


SUITE = Suite(
    name="hellaswag",
    description="Which ending continues a scene (HellaSwag, 100 rows, likelihood per byte)",
    cases=partial(carried, "hellaswag"),
    score=_score,
)
