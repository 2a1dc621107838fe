"""A plain function as a metric: the mean of `f(answer, reference)` over the rows.

def f1_of_codes(answer: str, reference: str) -> float:
    a, b = set(answer.split()), set(reference.split())
    return 2 * len(a & b) / max(len(a) + len(b), 1)
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.metric import Metric, Prediction, mean_metric
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.user_code import UserCode, where

_NUMBERS = (Real, np.bool_)  # numpy's numbers are `Real`, its truth values are not
_SIGNATURE = "`def metric(answer: str, reference: str) -> float`"


def as_metric(name: str, value: Any) -> Metric:
    """A metric under the name that the manifest gives it.

    Args:
        name: of the table's entry.
        value: a `Metric`, or a function of two texts that returns a number, the larger the better.

    Raises:
        InvalidInput: it is neither; a function is tried once on two equal texts.
    """
    if isinstance(value, Metric):
        return value if value.name == name else replace(value, name=name)
    if not callable(value):
        raise InvalidInput(
            f"the metric `{name}` is neither a `Metric` nor a function, but {_shown(value)}",
            hint=f"write {_SIGNATURE}",
        )
    _check(name, value)
    description = " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())
    return mean_metric(
        name,
        description or "Mean over the rows; without a description of its own",
        _scores(name, value),
        binary=False,
    )


def _check(name: str, function: Callable[..., Any]) -> None:
    at = _place(name, function)
    try:
        inspect.signature(function).bind("", "")
    except (TypeError, ValueError):
        raise InvalidInput(
            f"the metric `{name}`{at} cannot be called with an answer and a reference",
            hint=f"write {_SIGNATURE}",
        ) from None
    try:
        given = function("answer", "answer")
    except (Exception, SystemExit):  # it may want other texts than these: its own rows will tell
        return
    if not isinstance(given, _NUMBERS):
        raise InvalidInput(
            f"the metric `{name}`{at} gives {_shown(given)}, not a number",
            hint=f"write {_SIGNATURE}, and return the score",
        )


def _place(name: str, function: Callable[..., Any]) -> str:
    """` (my_metrics.py:3)`, where a function of a user's file begins."""
    code = getattr(function, "__code__", None)
    if not isinstance(name, UserCode) or code is None:
        return ""
    return f" ({name.path.name}:{code.co_firstlineno})"


def _scores(
    name: str, function: Callable[[str, str], Any]
) -> Callable[[Sequence[Prediction], Sequence[Row]], list[float]]:
    def scores(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
        pairs = zip(predictions, rows, strict=True)
        return [_score(name, function, p.text, row, at) for at, (p, row) in enumerate(pairs, 1)]

    return scores


def _score(name: str, function: Callable[..., Any], answer: str, row: Row, at: int) -> float:
    number = f"test row {row.number or at}"
    hint = f"the answer was {_shown(answer)}, the reference {_shown(row.answer)}"
    try:
        given = function(answer, row.answer)
    except (Exception, SystemExit) as error:  # whatever a user's function raises
        shown = (
            where(name, error) if isinstance(name, UserCode) else f"{type(error).__name__}: {error}"
        )
        raise InvalidInput(f"the metric `{name}` failed on {number}: {shown}", hint=hint) from error
    try:
        score = float(given) if isinstance(given, _NUMBERS) else math.nan
    except OverflowError:
        score = math.inf
    if not math.isfinite(score):
        raise InvalidInput(
            f"the metric `{name}` gives {_shown(given)} on {number}, not a finite number", hint=hint
        )
    return score


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # an integer of thousands of digits, an odd object
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:79]}…"
