"""Backward transfer by hand: changes, verdicts at the budget's bound, the matrix."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.builders.evaluation.transfer import (
    AncestorTest,
    backward_transfer,
    entries,
    entries_at,
    matrix,
    require_provable,
    transfer_outcomes,
)
from adapterworks.manifests.errors import InvalidInput
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


def test_each_ancestor_has_the_budget_to_itself() -> None:
    """By the whole interval of its change, as every budget against forgetting: few rows do not pass
    what they cannot show."""
    found: list[dict[str, Any]] = entries(
        [ancestor("b@2", 16), ancestor("a@1", 10)], [answers(15), answers(14)]
    )
    worst = -found[0]["low"]
    assert 0.05 < worst < 1.0
    for budget, told in (
        (worst, "within the budget"),
        (worst - 0.001, "too few rows to show that the budget of"),
        (0.05, "too few rows to show"),
        (0.04, "over the budget of −4.0 points"),
    ):
        table = RetentionTable(ancestors=True, max_ancestor_loss=budget)
        outcomes = transfer_outcomes(found, table)
        assert [(o.kind, o.name) for o in outcomes] == [("retention", "b@2"), ("retention", "a@1")]
        assert outcomes[0].passed == (told == "within the budget")
        assert told in outcomes[0].why
        why = "test rows of b@2: exact_match 80.0% → 75.0% (-5.0 points ["
        assert outcomes[0].why.startswith(why)
    assert transfer_outcomes(found, RetentionTable(ancestors=True)) == []
    lost = entries([ancestor("b@2", 16)], [answers(0)])
    all_of_it = RetentionTable(ancestors=True, max_ancestor_loss=1.0)
    assert [one.passed for one in transfer_outcomes(lost, all_of_it)] == [True]


def test_a_budget_is_judged_at_its_own_confidence() -> None:
    given = [ancestor("b@2", 16)], [answers(15)]
    usual, sure = entries(*given), entries(*given, 0.99)
    beside = sure[0].pop("budget")
    assert usual == sure
    assert beside["low"] < usual[0]["low"]
    table = RetentionTable(ancestors=True, max_ancestor_loss=-usual[0]["low"])
    sure[0]["budget"] = beside
    found = [*transfer_outcomes(usual, table), *transfer_outcomes(sure, table)]
    assert [one.passed for one in found] == [True, False]
    assert "] at 99%), too few rows" in found[1].why


def test_another_confidence_is_judged_of_what_is_kept() -> None:
    """Nobody is asked again for it; a version that kept no rows can be judged as it was alone."""
    grouped = tuple(chat(f"q{n}", "yes", group=n // 4) for n in range(20))
    for rows in (ROWS, grouped):
        given = [replace(ancestor("b@2", 16), rows=rows)], [answers(15)]
        usual, sure = entries(*given), entries(*given, 0.99)
        kept = json.loads(json.dumps(sure))
        assert entries_at(kept, 0.95) == usual
        assert entries_at(kept, 0.99) == sure
        assert entries_at(usual, 0.99) == sure
        for entry in (usual[0], sure[0]):
            del entry["by_row"]
        assert entries_at(sure, 0.99) == sure
        assert entries_at(usual, 0.95) == usual
        assert entries_at(sure, 0.95) is entries_at(usual, 0.99) is None


def test_a_budget_that_no_rows_can_keep_is_refused_before() -> None:
    """Of twenty rows the interval of no change at all is 13 points wide on either side."""
    table = RetentionTable(ancestors=True, max_ancestor_loss=0.05)
    with pytest.raises(InvalidInput, match="of `b@2` cannot show less than") as e:
        require_provable([ancestor("b@2", 16)], table)
    assert "set it to 0.135 or more" in (e.value.hint or "")
    require_provable([ancestor("b@2", 16)], table.model_copy(update={"max_ancestor_loss": 0.135}))
    require_provable([ancestor("b@2", 16)], RetentionTable(ancestors=True))
    same = entries([ancestor("b@2", 16)], [answers(16)])
    least = table.model_copy(update={"max_ancestor_loss": 0.135})
    assert [one.passed for one in transfer_outcomes(same, least)] == [True]
