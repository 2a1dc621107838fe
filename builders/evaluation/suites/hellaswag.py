"""HellaSwag (Zellers et al. 2019): which ending continues a scene; by log-likelihood per character.

As lm-evaluation-harness's task `hellaswag` and its `acc_norm`: WikiHow's marks are taken out, and
the sentence that an ending completes begins with a capital letter.
"""

from __future__ import annotations

import re
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

_MARK = re.compile(r"\[.*?\]")
# The carried cases have a scene in one piece: what is behind its last whole sentence is the
# beginning that the ending completes. WikiHow's have none.
_BEGUN = re.compile(r"(?<=[.!?])\s+(?=[^.!?]*$)")
_WIKIHOW = "[header]"


def choice(case: dict[str, Any]) -> Choice:
    """The scene and its four endings."""
    scene, begun = case["ctx"], ""
    last = None if _WIKIHOW in scene else _BEGUN.search(scene)
    if last is not None:
        scene, begun = scene[: last.start()], scene[last.end() :].capitalize()
    context = plain(f"{case['activity_label']}: {scene} {begun}")
    return Choice(context, tuple(map(plain, case["endings"])), case["expected_index"])


def plain(text: str) -> str:
    """A text without WikiHow's marks; a title ends what stands before it."""
    told = _MARK.sub("", text.strip().replace(" [title]", ". "))
    return told.replace("  ", " ")


def _score(generator: Generator, cases: Cases, progress: Progress | None) -> list[float]:
    return multiple_choice(generator, [choice(case) for case in cases], progress)


SUITE = Suite(
    name="hellaswag",
    description="Which ending continues a scene (HellaSwag, 100 rows, likelihood per character)",
    cases=partial(carried, "hellaswag"),
    score=_score,
)
