"""Win rates: a judge's as a metric with gates, a verifier's by rows; by hand, and judged again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.comparison import Comparison, compare
from adapterworks.builders.evaluation.evaluate import Evaluation, evaluate_generators
from adapterworks.builders.evaluation.gates.wins import judge as wins
from adapterworks.builders.evaluation.metrics.metric import Prediction, mean_metric
from adapterworks.builders.evaluation.needs import check_metrics
from adapterworks.builders.evaluation.recorded import evaluate_again
from adapterworks.builders.rewards.asking import Judge
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable, QualityGate
from adapterworks.manifests.judging import JudgeTable
from tests.builders.endpoints.standin import completion, endpoint

ROWS = [chat(f"question {number}", f"reference {number}") for number in range(24)]


class Says:
    """Answers as it is written down."""

    tokenizer: Any = None
    cut: Sequence[bool] = (False,) * len(ROWS)
    whole: Sequence[str] = ()

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts

    def generate(self, prompts: Sequence[Any], **_: Any) -> list[str]:
        assert len(prompts) == len(self.texts)
        self.whole = [*self.texts]
        return [*self.texts]


def longer(body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
    """Prefers the longer answer; says A where one of them is odd."""
    shown = str(body["messages"][-1]["content"])
    one, other = shown.split("ANSWER A\n")[1].removesuffix("\n\n###").split("\n\n### ANSWER B\n")
    verdict = "A" if "odd" in shown or len(one) > len(other) else "B"
    return 200, completion(f"Verdict: {verdict}"), {}


def table(url: str, *gates: Mapping[str, Any]) -> EvaluateTable:
    given = {"metrics": ["win_rate"], "judge": {"endpoint": f"{url}#judge"}, "gates": [*gates]}
    return EvaluateTable.model_validate_json(json.dumps(given))


def judged(tmp_path: Path, url: str, asked: EvaluateTable) -> Evaluation:
    """Of 24: 21 better than the base's, one worse, one the same, one by the order; of the start all
    the same."""
    ours = [*["longer"] * 21, "x", "same", "odd"]
    subjects = {
        "base": ["long"] * 22 + ["same", "even"],
        "start": ours,
        "candidate": ours,
    }
    assert asked.judge is not None
    judge = Judge(asked.judge, tmp_path / "kept", {})
    try:
        return evaluate_generators(
            {name: (lambda texts=texts: Says(texts)) for name, texts in subjects.items()},
            ROWS,
            asked,
            judge=judge,
        )
    finally:
        judge.close()


def test_a_judge_is_a_metric_with_gates_against_base_and_start(tmp_path: Path) -> None:
    of = {"metric": "win_rate", "min_gain": 0.1}
    gates = [{**of, "against": "base"}, {**of, "against": "start"}]
    gates.append({"metric": "win_rate", "kind": "wins", "against": "base", "min_gain": 0.1})
    with endpoint(longer) as asked:
        evaluation = judged(tmp_path, asked.url, table(asked.url, *gates))
        assert len(asked.bodies) == 46, "the same text is not judged"
    entry = evaluation.report["metrics"]["win_rate"]
    # 21 wins and two ties of 24: 22 / 24 for the candidate, 2 / 24 for the base.
    assert entry["values"]["candidate"] == 0.5
    assert entry["values"]["base"] == pytest.approx(2 / 24)
    assert entry["values"]["start"] == 0.5
    gain = entry["gains"]["base"]
    assert gain["gain"] == pytest.approx(22 / 24 - 0.5)
    assert 0.1 < gain["low"] < gain["gain"] < gain["high"]
    assert entry["gains"]["start"]["gain"] == 0.0
    assert [gate.passed for gate in evaluation.gates] == [True, False, True]
    assert "better than base on 91.7% of the rows" in evaluation.gates[2].why
    told = evaluation.report["judge"]["against"]["base"]
    assert (told["wins"], told["losses"], told["tied"], told["flipped"]) == (21, 1, 2, 1)
    lines = [json.loads(line) for line in evaluation.predictions_jsonl().splitlines()]
    assert [line["judged"]["base"] for line in lines] == [*[0.0] * 21, 1.0, 0.5, 0.5]


def test_changed_gates_are_judged_again_without_the_judge(tmp_path: Path) -> None:
    with endpoint(longer) as asked:
        before = judged(tmp_path, asked.url, table(asked.url))
        url = asked.url
    gate = {"metric": "win_rate", "against": "base", "min_gain": 0.2}
    again = evaluate_again(
        ROWS, before.report, before.predictions_jsonl(), table(url, gate), seed=42
    )
    assert again is not None
    assert again.report["metrics"] == before.report["metrics"]
    assert again.report["judge"] == before.report["judge"]
    other = table(url, gate).model_copy(update={"judge": JudgeTable(endpoint=f"{url}#other")})
    assert (
        evaluate_again(ROWS, before.report, before.predictions_jsonl(), other, seed=42) is None
    ), "what one judge said is not another's word"


def test_a_killed_evaluation_asks_the_judge_for_the_rest(tmp_path: Path) -> None:
    with endpoint(longer) as asked:
        first = judged(tmp_path, asked.url, table(asked.url))
        sent = len(asked.bodies)
        second = judged(tmp_path, asked.url, table(asked.url))
        assert len(asked.bodies) == sent
    assert first.report == second.report


def test_a_judges_word_needs_a_judge_and_answers() -> None:
    with pytest.raises(InvalidInput, match="`win_rate` is a judge's word"):
        check_metrics(EvaluateTable(metrics=("win_rate",)))
    judge = JudgeTable(endpoint="http://localhost:1/v1#judge")
    check_metrics(EvaluateTable(metrics=("win_rate",), judge=judge))
    with pytest.raises(InvalidInput, match="no answers to judge"):
        check_metrics(EvaluateTable(metrics=("perplexity",), judge=judge))


def comparison(before: Sequence[float], after: Sequence[float]) -> Comparison:
    score = mean_metric(
        "score", "A number a row", lambda given, _: [one.margin for one in given], binary=False
    )
    predictions = {
        name: [Prediction(margin=value) for value in values]
        for name, values in (("base", before), ("candidate", after))
    }
    rows = [chat(f"q{number}", "a") for number in range(len(before))]
    return compare([score], rows, predictions, 200, 1)["score"]


def test_more_rows_won_than_lost_is_another_thing_than_a_gain() -> None:
    """Of ten, two gained much and six lost a little: the gain is positive, the win rate 0.3."""
    before = [0.5] * 10
    after = [1.0] * 2 + [0.45] * 6 + [0.5] * 2
    found = comparison(before, after)
    assert found.gain("base") > 0
    assert found.win_rate("base") == pytest.approx((2 + 2 / 2) / 10)
    bounds = found.win_interval("base", 0.95)
    assert 0 <= bounds.low < 0.3 < bounds.high < 1
    gate = QualityGate(kind="wins", metric="exact_match", against="base", min_gain=0.0)
    outcome = wins(gate, found)
    assert not outcome.passed
    assert "better than base on 30.0% of the rows" in outcome.why
    assert wins(gate, comparison([0.1] * 30, [0.2] * 30)).passed
    assert wins(gate.model_copy(update={"against": "start"}), found).passed, "nobody to beat yet"
    assert not wins(gate, comparison([0.1], [0.2])).passed, "one row shows nothing"
    few = wins(gate, comparison([0.5] * 10, [0.6] * 6 + [0.4] * 4))
    assert not few.passed
    assert "on 60.0% of the rows" in few.why
