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

from adapterworks.builders.data.rows import Row
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.graders import (
    Grader,
    Multi,
    StringCheck,
    TextSimilarity,
    formula_of,
)

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


def grade(grader: Grader, answer: str, row: Row) -> float:
    """What an answer is worth.

    Raises:
        InvalidInput: the row lacks a column that the grader reads, or a formula has no value.
    """
    if isinstance(grader, Multi):
        parts = {name: grade(one, answer, row) for name, one in grader.graders.items()}
        return _calculated(grader, parts)
    given, wanted = (filled(text, answer, row) for text in (grader.input, grader.reference))
    if isinstance(grader, StringCheck):
        return float(_CHECKS[grader.operation](given, wanted))
    return _similar(grader, given, wanted)


def filled(template: str, answer: str, row: Row) -> str:
    """A template with the answer and the row's columns.

    Raises:
        InvalidInput: the row has no such column.
    """

    def value(slot: re.Match[str]) -> str:
        if slot[2] is None:
            return answer
        own = {"answer": row.answer, "question": row.question}
        found = row.meta.get(slot[2], own.get(slot[2]))
        if found is None:
            raise InvalidInput(
                f"row {row.number} has no column `{slot[2]}`, which a grader reads",
                hint=f"it has {', '.join(f'`{name}`' for name in sorted({*row.meta, *own}))}",
            )
        return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)

    return _SLOT.sub(value, template)


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
        return value(formula_of(grader.calculate_output).body)
    except KeyError as error:
        raise InvalidInput(
            f"the formula of `{grader.name}` names {error}, and its graders are "
            f"{', '.join(f'`{name}`' for name in parts)}",
        ) from error
    except (ArithmeticError, ValueError, TypeError) as error:
        raise InvalidInput(f"the formula of `{grader.name}` has no value: {error}") from error


_OPERATIONS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Pow: math.pow,
}
