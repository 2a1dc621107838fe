"""Backward transfer by hand: changes, verdicts at the budget's bound, the matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.builders.evaluation.transfer import (
    AncestorTest,
    backward_transfer,
    entries,
    matrix,
    transfer_outcomes,
)
from adapterworks.manifests.evaluate_tables import EvaluateTable, RetentionTable

ROWS = tuple(chat(f"q{n}", "yes") for n in range(20))


def ancestor(ref: str, right: int, **earlier: float) -> AncestorTest:
    then = np.array([1.0] * right + [0.0] * (20 - right))
    table = EvaluateTable(metrics=("exact_match",))
    return AncestorTest(ref, f"sha256:{ref}", ROWS, table, then, earlier)


def answers(right: int) -> list[Prediction]:
    return [Prediction("yes" if n < right else "no", 0.0, 0, 0.0, 0.0) for n in range(20)]


def test_the_change_is_paired_and_has_an_interval() -> None:
    found = entries(
        [ancestor("b@2", 16, **{"a@1": 0.5}), ancestor("a@1", 10)], [answers(15), answers(14)]
    )
    assert found[0]["then"] == 0.8
    assert found[0]["now"] == 0.75
    assert found[0]["change"] == pytest.approx(-0.05)
    assert found[0]["low"] < -0.05 < found[0]["high"] < 0.2
    assert backward_transfer(found) == pytest.approx((-0.05 + 0.2) / 2)
    assert matrix("c@3", found) == [
        ["release", "a@1", "b@2"],
        ["a@1", "0.500", ""],
        ["b@2", "0.500", "0.800"],
        ["c@3", "0.700", "0.750"],
    ]


@pytest.mark.parametrize(("budget", "passed"), [(0.05, True), (0.04, False), (0.06, True)])
def test_each_ancestor_has_the_budget_to_itself(budget: float, passed: bool) -> None:
    found: list[dict[str, Any]] = entries(
        [ancestor("b@2", 16), ancestor("a@1", 10)], [answers(15), answers(14)]
    )
    table = RetentionTable(ancestors=True, max_ancestor_loss=budget)
    outcomes = transfer_outcomes(found, table)
    assert [(o.kind, o.name, o.passed) for o in outcomes] == [
        ("retention", "b@2", passed),
        ("retention", "a@1", True),
    ]
    assert outcomes[0].why.startswith("test rows of b@2: exact_match 80.0% → 75.0% (-5.0 points [")
    assert transfer_outcomes(found, RetentionTable(ancestors=True)) == []
