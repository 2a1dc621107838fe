"""Whether an answer's Python passes the row's tests, in a sandbox.

As the other verifiers, it gives a score a row, so that it is a metric of an evaluation and a reward
of a training alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adapterworks.builders.data.rows import Row
from adapterworks.builders.evaluation.metrics.code import fenced
from adapterworks.builders.evaluation.metrics.metric import Prediction, mean_metric
from adapterworks.builders.rewards.code_tests import passes
from adapterworks.builders.rewards.sandbox import require
from adapterworks.manifests.errors import InvalidInput


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


def _require_tests(rows: Sequence[Row]) -> None:
    _tests_of(rows)
    require()


UNIT_TESTS = replace(
    mean_metric(
        "unit_tests", "The answer's Python passes the row's `tests`, in a sandbox", _passed
    ),
    reads_columns=True,
    require=_require_tests,
    packages=("python",),
)
