"""Verifiers: whether an answer is right by a rule, whatever words stand around it.

Each gives a score a row, so that it is a metric of an evaluation and a reward of a training alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.metric import Prediction, mean_metric

# With separators of thousands: 1,234.5
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?")


def last_number(text: str) -> Decimal | None:
    """The last number of a text, exactly; None without one."""
    found = _NUMBER.findall(text)
    try:
        return Decimal(found[-1].replace(",", "")) if found else None
    except InvalidOperation:
        return None


def _numbers(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    """An answer without a number is wrong, and so is any answer where the reference has none."""
    scores = []
    for prediction, row in zip(predictions, rows, strict=True):
        given, wanted = last_number(prediction.text), last_number(row.answer)
        scores.append(float(given is not None and given == wanted))
    return scores


EXACT_NUMBER = mean_metric(
    "exact_number", "The answer's last number is the reference's last number", _numbers
)
