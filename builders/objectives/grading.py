"""One answer graded for somebody who waits for the number: within bounds, and faults as values.

Invariant: no text is filled in and no table is made before its size is known to be within bounds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from adapterworks.builders.objectives.graders import (
    NoColumn,
    NoValue,
    filled,
    filled_length,
    texts_of,
    worth,
)
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.graders import Graded, Grader, PythonGrader, ScoreModel, leaves_of

# Characters of all templates together, once they are filled in.
MOST_TEXT = 400_000
# ROUGE-L fills a table of words by words: 4 million cells take about a second and 32 MB.
MOST_CELLS = 4_000_000
_WORD = re.compile(r"[a-z0-9]+")


def grade_answer(grader: Grader, answer: str, item: Mapping[str, Any]) -> Graded:
    """What an answer to a row is worth; takes at most seconds.

    Args:
        item: the row's columns.

    Raises:
        InvalidInput: the texts are too long for the grader.
    """
    columns = texts_of(item)
    try:
        _require_bounded(grader, answer, columns)
        reward, parts = worth(grader, answer, columns)
    except NoColumn as error:
        return Graded(0.0, fault="column", why=f"`item` {error.message}")
    except NoValue as error:
        return Graded(0.0, fault="formula", why=error.message)
    return Graded(reward, parts)


def _require_bounded(grader: Grader, answer: str, columns: Mapping[str, str]) -> None:
    """Refuse what would take too long.

    Raises:
        InvalidInput, NoColumn: as `grade_answer` and `filled` say.
    """
    leaves = []
    for leaf in leaves_of(grader).values():
        if isinstance(leaf, ScoreModel | PythonGrader):
            raise InvalidInput(f"a `{leaf.type}` grader is not run here")
        leaves.append(leaf)
    texts = [text for leaf in leaves for text in (leaf.input, leaf.reference)]
    if sum(filled_length(text, answer, columns) for text in texts) > MOST_TEXT:
        raise InvalidInput(
            f"the grader's texts come to more than {MOST_TEXT} characters once they are filled in"
        )
    cells = 0
    for leaf in leaves:
        if leaf.type == "text_similarity" and leaf.evaluation_metric == "rouge_l":
            sizes = [
                sum(1 for _ in _WORD.finditer(filled(text, answer, columns).lower()))
                for text in (leaf.input, leaf.reference)
            ]
            cells += sizes[0] * sizes[1]
    if cells > MOST_CELLS:
        raise InvalidInput(
            f"`rouge_l` of these texts compares {cells} pairs of words, at most {MOST_CELLS}",
            hint="shorten them, or measure `rouge_1` or `bleu`, which do not compare every pair",
        )
