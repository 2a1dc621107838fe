"""Gates at their very edge: what a bound, a budget and a missing reference decide."""

from __future__ import annotations

from typing import Any, cast

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.comparison import Comparison, compare
from adapterworks.builders.evaluation.gates import QUALITY_GATES
from adapterworks.builders.evaluation.gates.gain import judge
from adapterworks.builders.evaluation.gates.gate import GateOutcome, all_passed
from adapterworks.builders.evaluation.gates.retention import Change, retention_outcomes
from adapterworks.builders.evaluation.metrics import METRICS, metric
from adapterworks.builders.evaluation.metrics.function import as_metric
from adapterworks.builders.evaluation.metrics.metric import Prediction, mean_metric
from adapterworks.builders.evaluation.statistics import Interval
from adapterworks.manifests.evaluate_tables import QualityGate, RetentionTable

GATE = QualityGate(metric="exact_match", min_gain=0.02, confidence=0.9)


class Measured:
    """A comparison of candidate and base whose gain and bounds the test sets."""

    subjects = ("base", "candidate")
    draws = 200
    of_shares = True

    def __init__(
        self, metric: str, gain: float, bounds: dict[float, Interval], p: float = 0.001
    ) -> None:
        self.metric = METRICS[metric]
        self._gain, self._bounds, self._p = gain, bounds, p

    def gain(self, reference: str) -> float:
        return self._gain

    def gain_interval(self, reference: str, confidence: float) -> Interval:
        return self._bounds[confidence]

    def p_value(self, reference: str) -> tuple[float, str]:
        return self._p, "mcnemar" if self.metric.binary else "bootstrap"


def judged(gate: QualityGate, gain: float, low: float, high: float = 0.95) -> GateOutcome:
    """The verdict on a gain with these bounds at the gate's confidence."""
    measured = Measured(gate.metric, gain, {gate.confidence: Interval(low, high)})
    return judge(gate, cast(Comparison, measured))


@pytest.mark.parametrize(
    ("low", "passed"), [(0.02, False), (0.0199, False), (0.0201, True), (-0.3, False), (0.5, True)]
)
def test_the_lower_bound_must_be_above_the_gain_that_is_asked_for(low: float, passed: bool) -> None:
    outcome = judged(GATE, 0.9, low)
    assert outcome.passed is passed
    assert (outcome.kind, outcome.name) == ("quality", "exact_match")


def test_the_bound_is_that_of_the_gates_own_confidence() -> None:
    bounds = {0.9: Interval(0.03, 1.0), 0.95: Interval(0.01, 1.0)}
    measured = cast(Comparison, Measured("exact_match", 0.5, bounds))
    assert judge(GATE, measured).passed
    assert not judge(GATE.model_copy(update={"confidence": 0.95}), measured).passed


def test_a_quality_gate_says_gain_bound_confidence_and_what_was_asked() -> None:
    assert judged(GATE, 0.1, 0.031).why == (
        "exact_match: gain over base +10.0 points, at 90% at least +3.1 points, "
        "which is above +2.0 points"
    )
    lower = QualityGate(metric="perplexity", min_gain=0.5)
    assert judged(lower, 0.4, -0.001).why.endswith(
        "at 95% at least +0.00 ppl, which is not above +0.50 ppl"
    )


@pytest.mark.parametrize(
    ("metric", "min_gain", "p", "passed"),
    [
        ("exact_match", 0.0, 0.0501, False),
        ("exact_match", 0.0, 0.05, True),
        ("exact_match", -0.1, 0.9, True),  # a loss is allowed: there is no gain to be shown
        ("rouge_l", 0.0, 0.9, True),  # not right or wrong: the interval alone decides
    ],
)
def test_the_exact_test_must_find_a_gain_of_right_answers_too(
    metric: str, min_gain: float, p: float, passed: bool
) -> None:
    gate = QualityGate(metric=metric, min_gain=min_gain)
    measured = Measured(metric, 0.5, {0.95: Interval(0.01, 1.0)}, p)
    outcome = judge(gate, cast(Comparison, measured))
    assert outcome.passed is passed
    assert ("too few rows changed" in outcome.why) is not passed
    assert outcome.why.startswith(f"{metric}: gain over base ")


def test_a_gate_that_any_share_passes_asks_for_nothing() -> None:
    assert judged(QualityGate(metric="exact_match", min_gain=-1.0), -0.5, -1.7).passed
    assert not judged(QualityGate(metric="exact_match", min_gain=-0.99), -0.5, -1.0).passed


@pytest.mark.parametrize(("most", "passed"), [(1.0, True), (10.0, False)])
def test_a_loss_of_what_is_no_share_is_a_loss(most: float, passed: bool) -> None:
    """A grader that falls from the most it gave to 0 on each row: from 1 that is all of a share."""
    grader = mean_metric("grader:worth", "", lambda given, rows: [float(p.text) for p in given])
    texts = {"base": f"{most:g}", "candidate": "0"}
    answers = {name: [Prediction(text)] * 20 for name, text in texts.items()}
    found = compare([grader], [chat("q", "a")] * 20, answers, 50, 1)["grader:worth"]
    gate = QualityGate(metric="exact_match", min_gain=-1.0)
    assert judge(gate, found).passed is passed


@pytest.mark.parametrize(("rows", "passed"), [(1, False), (2, True)])
def test_a_single_row_shows_nothing(rows: int, passed: bool) -> None:
    measured = Measured("rouge_l", 1.0, {0.95: Interval(0.5, 1.0)})
    measured.draws = rows
    outcome = judge(QualityGate(metric="rouge_l", min_gain=0.1), cast(Comparison, measured))
    assert outcome.passed is passed
    assert outcome.why.startswith("rouge_l: gain over base ")
    assert outcome.why.endswith("; but a single row, or group of rows, shows nothing") is not passed


def test_a_gate_without_a_reference_passes_and_says_so() -> None:
    outcome = judged(QualityGate(metric="exact_match", against="prod"), -0.5, -0.9)
    assert outcome.passed
    assert outcome.why == "exact_match: there is no `prod` to compare with yet"


@pytest.mark.parametrize(
    ("change", "high", "passed", "said"),
    [
        (0.05, 0.1, True, "within the budget of +10.0%"),
        (0.05, 0.101, False, "too few rows to show that the budget of +10.0% is kept"),
        (0.11, 0.12, False, "over the budget of +10.0%"),
        (-0.1, -0.05, True, "within the budget of +10.0%"),
    ],
)
def test_perplexity_may_rise_by_the_budget(
    change: float, high: float, passed: bool, said: str
) -> None:
    """What counts is the end of the interval, and what is said is why."""
    table = RetentionTable(on=True, max_perplexity_increase=0.1)
    found = Change(10.0, 10 * (1 + change), change, change - 0.01, high)
    (outcome,) = retention_outcomes(table, found, {"hellaswag": Change(0.9, 0.1, -0.8, -0.9, -0.7)})
    assert (outcome.kind, outcome.name, outcome.passed) == ("retention", "perplexity", passed)
    assert outcome.why.endswith(f"({change:+.1%} [{change - 0.01:+.1%}, {high:+.1%}]), {said}")


@pytest.mark.parametrize(
    ("after", "low", "passed", "said"),
    [
        (0.38, -0.05, True, "within the budget"),
        (0.38, -0.051, False, "too few rows to show that the budget"),
        (0.349, -0.06, False, "over the budget"),
        (0.5, 0.02, True, "within the budget"),
    ],
)
def test_a_suite_may_lose_the_budget(after: float, low: float, passed: bool, said: str) -> None:
    table = RetentionTable(on=True, max_suite_loss=0.05)
    suites = {
        "a": Change(0.40, after, after - 0.40, low, 0.09),
        "b": Change(0.2, 0.2, 0.0, -0.01, 0.01),
    }
    outcomes = retention_outcomes(table, Change(10.0, 99.0, 8.9, 8.0, 9.0), suites)
    assert [(o.name, o.passed) for o in outcomes] == [("a", passed), ("b", True)]
    assert outcomes[0].why == (
        f"a: accuracy 40.0% → {after:.1%} ({(after - 0.40) * 100:+.1f} points "
        f"[{low * 100:+.1f}, +9.0]), {said} of −5.0 points" + (" is kept" if "few" in said else "")
    )


def test_all_gates_must_pass_and_none_is_passed() -> None:
    good, bad = (GateOutcome("quality", "m", passed, "") for passed in (True, False))
    assert all_passed([good, good])
    assert not all_passed([good, bad])
    assert not all_passed([bad, good])
    assert all_passed([])
    assert bad.to_json() == {"kind": "quality", "name": "m", "passed": False, "why": ""}


@pytest.mark.parametrize(
    ("gate", "rows", "why"),
    [
        ({"min_gain": 0.99}, 6, None),
        ({"min_gain": 1.0}, 6, "no gain of it is above +100.0 points"),
        ({"metric": "perplexity", "min_gain": 5.0}, 6, None),
        ({"kind": "wins", "min_gain": 0.49}, 6, None),
        ({"kind": "wins", "min_gain": 0.5}, 6, "no win rate is above 100.0%"),
        ({"kind": "limit", "limit": 0.9}, 200, None),
        ({"kind": "limit", "limit": 0.9}, 10, "10 test rows show at most 7"),
        ({"metric": "hallucination", "kind": "limit", "limit": 0.1}, 200, None),
        ({"metric": "hallucination", "kind": "limit", "limit": 0.1}, 10, "show no less than 2"),
        ({"metric": "perplexity", "kind": "limit", "limit": 9.0}, 1, None),
    ],
)
def test_a_gate_that_nobody_could_pass_is_refused_before_a_training(
    gate: dict[str, Any], rows: int, why: str | None
) -> None:
    one = QualityGate(**{"metric": "exact_match", **gate})
    found = QUALITY_GATES.named(one.kind).hopeless(one, metric(one.metric), rows)
    assert (found is None) if why is None else (found is not None and why in found)


@pytest.mark.parametrize("gate", [{"min_gain": 2.0}, {"kind": "limit", "limit": 7.0}])
def test_a_gate_on_a_score_of_somebodys_own_may_ask_for_more_than_one(gate: dict[str, Any]) -> None:
    """A function that gives from 0 to 10 is no share, whatever its unit says."""
    ten = as_metric("ten", lambda answer, reference: 10.0)
    one = QualityGate(**{"metric": "exact_match", **gate})
    assert QUALITY_GATES.named(one.kind).hopeless(one, ten, 100) is None


def test_a_corpus_score_is_refused_no_sooner_than_its_own_interval_does() -> None:
    """Forty equal answers have a BLEU of 1 with another width than the mean of forty shares."""
    rows = [chat("q", "the cat sat on the mat today")] * 40
    given = {who: [Prediction(rows[0].answer)] * 40 for who in ("base", "candidate")}
    comparison = compare([metric("bleu")], rows, given, 200, 0)["bleu"]
    low = comparison.interval("candidate", 0.95).low
    gate = QualityGate(metric="bleu", kind="limit", limit=low)
    kind = QUALITY_GATES.named("limit")
    assert kind.judge(gate, comparison).passed
    assert kind.hopeless(gate, metric("bleu"), 40) is None
