"""One answer graded for somebody who waits for the number: within bounds, and faults as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapterworks.builders.data.reasoning import spoken
from adapterworks.builders.objectives.graders import (
    NoColumn,
    NoValue,
    require_bounded,
    texts_of,
    worth,
)
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.graders import Graded, Grader, PythonGrader, ScoreModel, leaves_of


def grade_answer(
    grader: Grader,
    answer: str,
    item: Mapping[str, Any],
    external: Mapping[str, float] | None = None,
) -> Graded:
    """What an answer to a row is worth; takes at most seconds.

    Args:
        item: the row's columns.
        external: what `score_model` and `python` gave, by their names in a formula, else "".

    Raises:
        InvalidInput: the texts are too long for the grader, or what is given elsewhere is not.
    """
    for name, leaf in leaves_of(grader).items():
        if isinstance(leaf, ScoreModel | PythonGrader) and name not in (external or {}):
            raise InvalidInput(f"a `{leaf.type}` grader is not run here")
    columns, answer = texts_of(item), spoken(answer)
    try:
        require_bounded(grader, answer, columns)
        reward, parts = worth(grader, answer, columns, external)
    except NoColumn as error:
        return Graded(0.0, fault="column", why=f"`item` {error.message}")
    except NoValue as error:
        return Graded(0.0, fault="formula", why=error.message)
    return Graded(reward, parts)
