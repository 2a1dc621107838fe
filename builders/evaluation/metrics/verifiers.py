"""Verifiers: whether an answer is right by a rule, whatever words stand around it.

Each gives a score a row, so that it is a metric of an evaluation and a reward of a training alike.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.code import fenced
from adapterworks.builders.evaluation.metrics.metric import Prediction, mean_metric
from adapterworks.builders.rewards.sandbox import passes, require
from adapterworks.manifests.errors import InvalidInput

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


def _schemas_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows' columns `schema`: JSON Schema, as a table or as text."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    schemas = []
    for number, row in enumerate(rows, 1):
        given = row.meta.get("schema")
        try:
            schema = json.loads(given) if isinstance(given, str) else given
            if not isinstance(schema, dict):
                raise ValueError("it is no table")
            Draft202012Validator.check_schema(schema)
        except (ValueError, SchemaError) as error:
            said = getattr(error, "message", None) or str(error)
            raise InvalidInput(
                f"row {row.number or number} has no JSON Schema in its column `schema`: {said}",
                hint="`json_schema` holds an answer against it",
            ) from error
        schemas.append(schema)
    return schemas


def _valid(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    from jsonschema import Draft202012Validator

    scores = []
    for prediction, schema in zip(predictions, _schemas_of(rows), strict=True):
        try:
            value = json.loads(fenced(prediction.text))
        except (ValueError, RecursionError):
            scores.append(0.0)
        else:
            scores.append(float(Draft202012Validator(schema).is_valid(value)))
    return scores


def _tests_of(rows: Sequence[Row]) -> list[str]:
    """The rows' columns `tests`: Python that raises if the code is wrong."""
    tests = []
    for number, row in enumerate(rows, 1):
        given = row.meta.get("tests")
        if not isinstance(given, str) or not given.strip():
            raise InvalidInput(
                f"row {row.number or number} has no Python in its column `tests`: {given!r}",
                hint="`unit_tests` runs it behind the answer's code: `assert f(2) == 4`",
            )
        tests.append(given)
    return tests


def _passed(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
    codes = [fenced(prediction.text) for prediction in predictions]
    return [float(passed) for passed in passes(codes, _tests_of(rows))]


def _require_schemas(rows: Sequence[Row]) -> None:
    _schemas_of(rows)


def _require_tests(rows: Sequence[Row]) -> None:
    _tests_of(rows)
    require()


JSON_SCHEMA = replace(
    mean_metric("json_schema", "The answer is JSON that is valid under the row's `schema`", _valid),
    require=_require_schemas,
)
UNIT_TESTS = replace(
    mean_metric(
        "unit_tests", "The answer's Python passes the row's `tests`, in a sandbox", _passed
    ),
    require=_require_tests,
)
