"""A gate that an evaluation does not answer has not passed, and is named."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.builders.evaluation.unjudged import judged_gates, unjudged
from adapterworks.manifests.evaluate_tables import EvaluateTable, QualityGate
from adapterworks.manifests.models import Manifest, StartTable
from tests.builders.build_support import manifest_for

ASKED = ("base", "candidate")


def gated(**table: Any) -> Manifest:
    return manifest_for("lora").model_copy(update={"evaluate": EvaluateTable(**table)})


def told(manifest: Manifest, *asked: str, no_prod: bool = False) -> list[str]:
    table = manifest.evaluate
    outcomes = unjudged(manifest, table, (*ASKED, *asked), no_prod=no_prod)
    assert not any(one.passed or one.judged for one in outcomes)
    left = judged_gates(table, (*ASKED, *asked), no_prod=no_prod)
    quality = [one for one in outcomes if one.kind == "quality"]
    assert len(left) + len(quality) == len(table.gates), "each is judged, or named"
    return [one.why for one in outcomes]


@pytest.mark.parametrize(
    ("against", "way"),
    [("prod", "--against NAME:prod"), ("start", "in a build alone"), ("nearest", "--baseline")],
)
def test_what_was_not_asked_judges_nothing(against: Any, way: str) -> None:
    gates = (
        QualityGate(metric="exact_match", against=against),
        QualityGate(metric="exact_match"),
        QualityGate(metric="exact_match", kind="limit", limit=0.5, against=against),
    )
    (line,) = told(gated(gates=gates))
    assert line.startswith(f"exact_match: not judged: `{against}` was not asked (")
    assert way in line
    assert told(gated(gates=gates), against) == []


def test_a_prod_that_there_is_not_yet_is_no_reason() -> None:
    manifest = gated(gates=(QualityGate(metric="exact_match", against="prod"),))
    assert told(manifest, no_prod=True) == []
    assert len(told(manifest)) == 1


def test_gates_that_an_endpoint_cannot_answer_are_named() -> None:
    manifest = gated(metrics=("perplexity",), gates=(QualityGate(metric="perplexity"),))
    table = manifest.evaluate.model_copy(update={"gates": ()})
    (one,) = unjudged(manifest, table, ASKED, no_prod=True)
    assert one.why == "perplexity: not judged: an endpoint gives no more than answers"
    assert one.to_json()["judged"] is False


def test_budgets_of_a_continued_training_are_named() -> None:
    budgets = {
        "retention": {"ancestors": True, "max_ancestor_loss": 0.1},
        "safety": {"on": True, "max_refusal_loss": 0.2},
    }
    manifest = gated(**budgets)
    assert told(manifest) == []  # it continues nothing
    continued = manifest.model_copy(update={"start": StartTable.model_construct(ref="a@1")})
    assert [line.partition(":")[0] for line in told(continued)] == ["ancestors", "refusals"]
    assert [line.partition(":")[0] for line in told(continued, "start")] == ["ancestors"]
