"""A win rate is one half for whoever is looked at: nobody takes that for a measurement."""

from __future__ import annotations

import pytest

from adapterworks.builders.evaluation.metrics import METRICS
from adapterworks.builders.evaluation.needs import check_metrics
from adapterworks.builders.evaluation.transfer import _is_score
from adapterworks.builders.watching.paired import chosen_metric
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable, QualityGate
from adapterworks.manifests.judging import JudgeTable

TABLE = EvaluateTable(
    metrics=("win_rate", "exact_match"), judge=JudgeTable(endpoint="http://127.0.0.1:1/v1#m")
)


def test_only_what_is_judged_against_another_says_nothing_by_itself() -> None:
    assert [name for name, one in METRICS.items() if not one.absolute] == ["win_rate"]


def test_a_limit_of_it_is_refused_and_a_gain_is_not() -> None:
    limit = QualityGate(kind="limit", metric="win_rate", limit=0.3)
    with pytest.raises(InvalidInput, match="one half for the candidate by definition"):
        check_metrics(TABLE.model_copy(update={"gates": (limit,)}))
    gates = (QualityGate(metric="win_rate"), limit.model_copy(update={"metric": "exact_match"}))
    check_metrics(TABLE.model_copy(update={"gates": gates}))


def test_it_is_not_watched() -> None:
    assert chosen_metric(TABLE, None)[0] == "exact_match"
    with pytest.raises(InvalidInput, match="`win_rate`: no mean of one score a row"):
        chosen_metric(TABLE, "win_rate")


def test_it_shows_nothing_forgotten() -> None:
    assert not _is_score("win_rate")
    assert _is_score("exact_match")
