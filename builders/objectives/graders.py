"""OpenAI's graders: one answer to one row → a number.

Invariant: pure; a formula is walked, never evaluated as Python, and a column that a row lacks is
refused by name before anything is trained.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from adapterworks.builders.data.reasoning import as_spoken, spoken
from adapterworks.builders.data.rows import Row
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.graders import (
    Grader,
    Multi,
    PythonGrader,
    ScoreModel,
    StringCheck,
    TextSimilarity,
    formula_of,
    leaves_of,
)
from adapterworks.manifests.lengths import MOST_CELLS, cells

_SLOT = re.compile(r"\{\{\s*(sample\.output_text|item\.([A-Za-z0-9_]+))\s*\}\}")
_FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "exp": math.exp,
    "sqrt": math.sqrt,
    "log": math.log,
}


class NoColumn(InvalidInput):
    """A row lacks a column that a grader reads."""


class NoValue(InvalidInput):
    """A formula has no value."""


class TooLong(InvalidInput):
    """Texts are longer than a grader compares."""


# Characters of all templates together, once they are filled in.
MOST_TEXT = 400_000


def grade(
    grader: Grader, answer: str, row: Row, external: Mapping[str, float] | None = None
) -> float:
    """What an answer to a row is worth, by what it says behind its reasoning.

    Args:
        external: what `score_model` and `python` gave, by their names in a formula, else "".

    Raises:
        NoColumn: the row lacks a column that the grader reads.
        NoValue: a formula has no value.
        TooLong: the texts are too long for it.
    """
    columns, answer = columns_of(row), spoken(answer)
    try:
        require_bounded(grader, answer, columns)
        return worth(grader, answer, columns, external or {})[0]
    except (NoColumn, TooLong) as error:
        raise _of_row(row, error) from error


def grade_sampled(
    grader: Grader, answer: str, row: Row, external: Mapping[str, float] | None = None
) -> float | None:
    """As `grade`, of what a model has answered: None where that has no value, or is too long."""
    try:
        return grade(grader, answer, row, external)
    except (NoValue, TooLong):
        return None


def require_bounded(grader: Grader, answer: str, columns: Mapping[str, str]) -> None:
    """Refuse what would take too long, before a text is filled in or a table is made.

    Raises:
        TooLong: it would.
        NoColumn: as `filled` says.
    """
    texts = [
        text
        for leaf in leaves_of(grader).values()
        if not isinstance(leaf, ScoreModel | PythonGrader)
        for text in (leaf.input, leaf.reference)
    ]
    if sum(filled_length(text, answer, columns) for text in texts) > MOST_TEXT:
        raise TooLong(
            f"the grader's texts come to more than {MOST_TEXT} characters once they are filled in"
        )
    compared = cells(grader, answer, columns)
    if compared > MOST_CELLS:
        raise TooLong(
            f"`rouge_l` of these texts compares {compared} pairs of words, at most {MOST_CELLS}",
            hint="shorten them, or measure `rouge_1` or `bleu`, which do not compare every pair",
        )


def require_columns(grader: Grader, row: Row) -> None:
    """Refuse a row that lacks what a grader reads; what is given elsewhere is not asked for.

    Raises:
        NoColumn, NoValue, TooLong: as `grade`.
    """
    leaves = leaves_of(grader).values()
    asking = [leaf for leaf in leaves if isinstance(leaf, ScoreModel)]
    if not asking and not any(isinstance(leaf, PythonGrader) for leaf in leaves):
        grade(grader, row.answer, row)
        return
    columns, answer = columns_of(row), as_spoken(row).answer
    try:
        require_bounded(grader, answer, columns)
        for leaf in leaves:
            if isinstance(leaf, ScoreModel):
                for turn in leaf.input:
                    filled(turn.content, answer, columns)
            elif not isinstance(leaf, PythonGrader):
                worth(leaf, answer, columns)
    except (NoColumn, TooLong) as error:
        raise _of_row(row, error) from error


def _of_row(row: Row, error: NoColumn | TooLong) -> InvalidInput:
    if isinstance(error, TooLong):
        return TooLong(f"row {row.number}: {error.message}", hint=error.hint)
    return NoColumn(f"row {row.number} {error.message}", hint=error.hint)


def columns_of(row: Row) -> dict[str, str]:
    """What `item` has of a row."""
    return texts_of({"answer": as_spoken(row).answer, "question": row.question, **row.columns})


def worth(
    grader: Grader,
    answer: str,
    columns: Mapping[str, str],
    external: Mapping[str, float] | None = None,
) -> tuple[float, dict[str, float]]:
    """What an answer is worth, and what each part of a formula gave; see `grade`."""
    known = external or {}
    if isinstance(grader, Multi):
        parts = {
            name: known[name] if name in known else worth(one, answer, columns)[0]
            for name, one in grader.graders.items()
        }
        return _calculated(grader, parts), parts
    if isinstance(grader, ScoreModel | PythonGrader):
        if "" not in known:
            raise InvalidInput(f"a `{grader.type}` grader is not run here")
        return known[""], {}
    given, wanted = (filled(text, answer, columns) for text in (grader.input, grader.reference))
    if isinstance(grader, StringCheck):
        return float(_CHECKS[grader.operation](given, wanted)), {}
    return _similar(grader, given, wanted), {}


def texts_of(columns: Mapping[str, Any]) -> dict[str, str]:
    """Columns as templates show them: texts as they are, other values as JSON, none left out."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in columns.items()
        if value is not None
    }


def filled(template: str, answer: str, columns: Mapping[str, str]) -> str:
    """A template with the answer and the row's columns.

    Raises:
        NoColumn: there is no such column.
    """
    return _SLOT.sub(lambda slot: _value(slot[2], answer, columns), template)


def filled_length(template: str, answer: str, columns: Mapping[str, str]) -> int:
    """At most how long `filled` is, without filling it."""
    slots = _SLOT.finditer(template)
    return len(template) + sum(len(_value(slot[2], answer, columns)) for slot in slots)


def _value(column: str | None, answer: str, columns: Mapping[str, str]) -> str:
    if column is None:
        return answer
    if column not in columns:
        raise NoColumn(
            f"has no column `{column}`, which a grader reads",
            hint=f"it has {', '.join(f'`{name}`' for name in sorted(columns)[:20])}",
        )
    return columns[column]


_CHECKS: Mapping[str, Callable[[str, str], bool]] = {
    "eq": lambda given, wanted: given == wanted,
    "ne": lambda given, wanted: given != wanted,
    "like": lambda given, wanted: wanted in given,
    "ilike": lambda given, wanted: wanted.casefold() in given.casefold(),
}


def _similar(grader: TextSimilarity, given: str, wanted: str) -> float:
    if grader.evaluation_metric == "bleu":
        from sacrebleu.metrics.bleu import BLEU

        return float(BLEU(effective_order=True).sentence_score(given, [wanted]).score) / 100
    from rouge_score.rouge_scorer import RougeScorer

    kind = grader.evaluation_metric.replace("_", "").replace("l", "L")
    return float(RougeScorer([kind]).score(wanted, given)[kind].fmeasure)


def _calculated(grader: Multi, parts: Mapping[str, float]) -> float:
    def value(node: Any) -> float:
        if isinstance(node, ast.Constant):
            return float(node.value)  # type: ignore[arg-type]  # a formula has numbers only
        if isinstance(node, ast.Name):
            return parts[node.id]
        if isinstance(node, ast.UnaryOp):
            inner = value(node.operand)
            return -inner if isinstance(node.op, ast.USub) else inner
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name)
            return float(_FUNCTIONS[node.func.id](*(value(one) for one in node.args)))
        return float(_OPERATIONS[type(node.op)](value(node.left), value(node.right)))

    try:
        found = value(formula_of(grader.calculate_output).body)
    except (ArithmeticError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise NoValue(f"the formula of `{grader.name}` has no value: {error}") from error
    if not math.isfinite(found):
        raise NoValue(f"the formula of `{grader.name}` has no value: it is beyond all numbers")
    return found


_OPERATIONS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: math.pow,
}
