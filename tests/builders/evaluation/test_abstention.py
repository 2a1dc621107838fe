"""Questions without an answer: who answers them, and who answers nothing."""

from __future__ import annotations

from typing import Any

import pytest

from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.evaluation.comparison import Comparison, compare
from adapterworks.builders.evaluation.evaluate import evaluate
from adapterworks.builders.evaluation.gates.limit import judge
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.evaluation.metrics.abstention import abstains
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.builders.objectives import OBJECTIVES
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.evaluate_tables import EvaluateTable, QualityGate

OWN = "Not among these."


@pytest.mark.parametrize(
    "answer",
    [
        "I don\u2019t know.", "The documentation does not say.", "The passage doesn't mention it.",
        "It is not mentioned in the text.", "This cannot be answered from the context.",
        "I cannot find this.", "Unanswerable", "", "  ", "I'm not sure which one.",
        "文中没有提到。", "not among these",
    ],
)  # fmt: skip
def test_an_answer_that_has_none_abstains(answer: str) -> None:
    assert abstains(answer, OWN)


@pytest.mark.parametrize(
    "answer", ["DeleteBucket", "It returns what is known.", "Yes", "Not among these, but PutObject",
               "Deletes what is there. " * 12 + "I don't know more."],
)  # fmt: skip
def test_an_answer_that_names_something_does_not(answer: str) -> None:
    assert not abstains(answer, OWN)


def test_what_is_right_is_no_abstention_whatever_its_words() -> None:
    for right in ("The key is not found.", "An unknown host error is raised.", "No information"):
        given = [chat("q", right), chat("u", OWN, answerable=False)]
        for said in (right, f"{right} It is logged."):
            assert compared("over_abstention", given, [said, OWN]).value("candidate") == 0.0
        assert compared("over_abstention", given, ["I don't know.", OWN]).value("candidate") == 1.0
    assert abstains("I don't know, no information", right="no"), "a word of it is not the answer"


def rows(answerable: int, without: int) -> list[Row]:
    return [chat(f"q{n}", f"a{n}") for n in range(answerable)] + [
        chat(f"u{n}", OWN, answerable=False) for n in range(without)
    ]


def compared(name: str, given: list[Row], answers: list[str], **more: Any) -> Comparison:
    predictions = {"candidate": [Prediction(answer) for answer in answers]}
    return compare([metric(name)], given, predictions, 200, 1)[name]


def test_each_kind_of_question_is_counted_among_its_own() -> None:
    """Of four answerable ones one is left, of six others two are answered."""
    answers = ["a0", "a1", "a2", "I don't know", OWN, OWN, "x", "y", "unknown", ""]
    given = rows(4, 6)
    assert compared("hallucination", given, answers).value("candidate") == pytest.approx(2 / 6)
    assert compared("over_abstention", given, answers).value("candidate") == pytest.approx(1 / 4)
    # A row's own way of abstaining is one of its own question only.
    assert compared("over_abstention", given, [OWN] * 10).value("candidate") == 0.0
    assert compared("hallucination", given, [OWN] * 10).value("candidate") == 0.0


def test_a_column_says_true_or_false() -> None:
    require = metric("hallucination").require
    assert require is not None
    require([chat("q", "a", answerable="False")])
    for nothing in (None, "", " "):
        other_rows = [chat("q", "a", answerable=nothing), chat("u", OWN, answerable=False)]
        require(other_rows)
        assert compared("hallucination", other_rows, ["x", "y"]).value("candidate") == 1.0
    with pytest.raises(InvalidInput, match="row 4 says neither true nor false"):
        require([chat("q", "a", row=4, answerable=0)])
    with pytest.raises(InvalidInput, match="no test row says `answerable = false`"):
        require(rows(3, 0))
    other = metric("over_abstention").require
    assert other is not None
    with pytest.raises(InvalidInput, match="no test row is answerable"):
        other(rows(0, 3))


def test_what_should_be_small_is_no_reward() -> None:
    assert not metric("hallucination").alone
    assert metric("regex").alone
    assert OBJECTIVES["grpo"] is not None


GATE = QualityGate(kind="limit", metric="hallucination", limit=0.2)


@pytest.mark.parametrize(
    ("count", "wrong", "passed"), [(60, 0, True), (60, 5, True), (60, 10, False), (5, 0, False)]
)
def test_a_limit_holds_the_interval_and_not_the_value(count: int, wrong: int, passed: bool) -> None:
    """None of five is no proof of at most 20 %; ten of 60 are 16.7 %, and may be 29 %."""
    answers = ["x"] * wrong + [OWN] * (count - wrong)
    given = [*rows(0, count), *rows(40, 0)]
    outcome = judge(GATE, compared("hallucination", given, [*answers, *["x"] * 40]))
    assert outcome.passed is passed
    assert f"hallucination: {wrong / count:.1%}, at 95% at most" in outcome.why
    assert outcome.why.endswith(f"which {'is' if passed else 'is not'} within 20.0%")


def test_of_what_is_better_when_higher_the_limit_is_a_least() -> None:
    given = rows(80, 0)
    right = [row.answer for row in given]
    least = QualityGate(kind="limit", metric="exact_match", limit=0.9)
    assert judge(least, compared("exact_match", given, right)).passed
    assert not judge(least, compared("exact_match", given, [*right[:70], *["x"] * 10])).passed


def test_nothing_counted_is_nothing_shown() -> None:
    assert not judge(GATE, compared("hallucination", rows(9, 0), ["x"] * 9)).passed


def test_questions_of_one_document_count_once() -> None:
    given = [chat(f"u{n}", OWN, answerable=False, group=n // 20) for n in range(60)]
    assert not judge(GATE, compared("hallucination", given, [OWN] * 60)).passed


def test_a_limit_is_said_with_its_kind_and_no_other() -> None:
    for values in ({"kind": "limit"}, {"limit": 0.1}, {"kind": "wins", "limit": 0.1}):
        with pytest.raises(ValueError, match="`limit` says how much"):
            QualityGate(metric="exact_match", **values)  # type: ignore[arg-type]


def test_an_evaluation_is_stopped_by_a_model_that_makes_things_up() -> None:
    table = EvaluateTable(
        metrics=("hallucination", "over_abstention"), gates=(GATE,), bootstrap_samples=50
    )
    given = rows(30, 60)
    made_up = [Prediction("x") for _ in given]
    honest = [Prediction("x" if n < 30 else OWN) for n in range(90)]
    found = evaluate(given, {"candidate": honest, "base": made_up}, table)
    assert found.passed
    assert found.report["metrics"]["hallucination"]["values"] == {"candidate": 0.0, "base": 1.0}
    assert not evaluate(given, {"candidate": made_up, "base": honest}, table).passed
