"""OpenAI's graders: each by hand, and what is refused of them before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.metrics.graded import of_grader
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.builders.objectives.graders import grade, grade_sampled, require_columns
from adapterworks.builders.objectives.grading import grade_answer
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.graders import Graded, Grader, GraderMetric
from adapterworks.manifests.load import check_manifest, load_manifest
from tests.builders.evaluation.test_verifiers import REWARDED

ROW = chat("Fever?", "R50.9", row=3, category="R50", codes=["R50", "A00"])
READ: TypeAdapter[Any] = TypeAdapter(Grader)


def check(operation: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "string_check",
        "name": "check",
        "operation": operation,
        "input": "{{sample.output_text}}",
        "reference": "{{ item.category }}",
        **more,
    }


def score(grader: dict[str, Any], answer: str) -> float:
    return grade(READ.validate_python(grader), answer, ROW)


@pytest.mark.parametrize(
    ("operation", "answers"),
    [
        ("eq", {"R50": 1, "r50": 0, "R50.9": 0, "R5": 0, "": 0}),
        ("ne", {"R50": 0, "r50": 1, "R5": 1}),
        ("like", {"It is R50.9": 1, "it is r50": 0, "R5": 0}),
        ("ilike", {"it is r50": 1, "R5": 0}),
    ],
)
def test_a_string_check(operation: str, answers: dict[str, int]) -> None:
    assert {answer: score(check(operation), answer) for answer in answers} == answers


def test_templates_have_answer_question_and_columns() -> None:
    both = check(
        "eq", reference="{{item.question}} {{item.answer}}", input="{{sample.output_text}}"
    )
    assert score(both, "Fever? R50.9") == 1.0
    listed = check("eq", input="{{item.codes}}", reference='["R50", "A00"]')
    assert score(listed, "") == 1.0
    with pytest.raises(InvalidInput, match="row 3 has no column `chapter`"):
        score(check("eq", reference="{{item.chapter}}"), "")


def test_what_an_answer_writes_is_no_template() -> None:
    assert score(check("eq"), "{{item.category}}") == 0.0


def test_similarity_by_hand() -> None:
    """ROUGE-1: two of three words shared by three, F = 2/3; ROUGE-L: one in order of three."""

    def like(metric: str, answer: str, reference: str) -> float:
        grader = {"type": "text_similarity", "name": "like", "evaluation_metric": metric}
        return score({**grader, "input": "{{sample.output_text}}", "reference": reference}, answer)

    assert like("rouge_1", "a b c", "b a d") == pytest.approx(2 / 3)
    assert like("rouge_l", "a b c", "b a d") == pytest.approx(1 / 3)
    assert like("rouge_2", "a b c", "a b d") == pytest.approx(1 / 2)
    assert like("bleu", "a b c d e", "a b c d e") == pytest.approx(1.0)
    assert like("bleu", "x", "a b c d e") == 0.0


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("0.8 * right + 0.2 * short", 0.8),
        ("right - short / 4", 1.0),
        ("max(right, short) ^ 2", 1.0),
        ("-right + 3", 2.0),
        ("min(2, 5) ^ 3 + abs(-1) + floor(1.7) + ceil(1.2)", 12.0),
    ],
)
def test_a_formula_of_graders(formula: str, value: float) -> None:
    parts = {"right": check("like"), "short": check("eq")}
    grader = {"type": "multi", "name": "m", "graders": parts, "calculate_output": formula}
    assert score(grader, "R50.9") == pytest.approx(value)


@pytest.mark.parametrize(
    "formula",
    ["__import__('os')", "right.real", "[right]", "right if 1 else 2", "right ** 9", "'a'", "1 +",
     "pow(right, 2)", "True", "max(*right)", "(lambda: 1)()", "wrong + 1"],
)  # fmt: skip
def test_a_formula_is_no_python(formula: str) -> None:
    grader = {"type": "multi", "name": "m", "graders": {"right": check("eq")}}
    with pytest.raises(ValidationError):
        READ.validate_python({**grader, "calculate_output": formula})


@pytest.mark.parametrize(
    "formula",
    ["1 / right", "log(right)", "exp(9999)", "1e308 * 10", "-" * 1500 + "right"],
    ids=["zero", "log", "exp", "infinite", "deep"],
)
def test_a_formula_without_a_value_is_refused(formula: str) -> None:
    grader = {"type": "multi", "name": "m", "graders": {"right": check("eq")}}
    with pytest.raises(InvalidInput, match="formula of `m`"):
        score({**grader, "calculate_output": formula}, "")


def test_what_is_waited_for_is_bounded_before_it_is_done() -> None:
    alike = {"type": "text_similarity", "name": "alike", "evaluation_metric": "rouge_l"}
    alike = {**alike, "input": "{{sample.output_text}}", "reference": "{{item.long}}"}
    words = "a " * 2000
    read = READ.validate_python(alike)
    assert grade_answer(read, words[:200], {"long": words[:200]}) == Graded(1.0)
    with pytest.raises(InvalidInput, match="4002000 pairs of words"):
        grade_answer(read, words + "b", {"long": words})
    bomb = READ.validate_python(check("eq", reference="{{item.x}}" * 1000))
    with pytest.raises(InvalidInput, match="more than 400000 characters"):
        grade_answer(bomb, "", {"x": "x" * 1000})


def test_an_answer_without_a_value_ends_no_training() -> None:
    """What a row's own answer has, a sampled one need not have."""
    alike = {"type": "text_similarity", "name": "alike", "evaluation_metric": "rouge_l"}
    alike = {**alike, "input": "{{sample.output_text}}", "reference": "{{item.answer}}"}
    grader = {"type": "multi", "name": "m", "graders": {"alike": alike}}
    grader = READ.validate_python({**grader, "calculate_output": "1 + log(alike)"})
    require_columns(grader, ROW)
    assert grade_sampled(grader, "R50.9", ROW) == 1.0
    assert grade_sampled(grader, "wrong", ROW) is None
    long = chat("q", "a " * 1000, row=7)
    require_columns(grader, long)
    assert grade_sampled(grader, "a " * 4001, long) is None
    with pytest.raises(
        InvalidInput, match="row 8: `rouge_l` of these texts compares 9000000 pairs"
    ):
        require_columns(grader, chat("q", "a " * 3000, row=8))
    metric = of_grader(GraderMetric("grader:m", grader))
    told = metric.statistics([Prediction("R50.9"), Prediction("x")], [ROW] * 2)
    assert list(metric.per_example(told)) == [1.0, 0.0]


def test_a_fault_of_a_row_is_a_value() -> None:
    lacking = grade_answer(READ.validate_python(check("eq")), "R50", {"chapter": 1})
    assert (lacking.reward, lacking.fault) == (0.0, "column")
    assert lacking.why == "`item` has no column `category`, which a grader reads"
    parts = {"right": check("eq")}
    grader = {"type": "multi", "name": "m", "graders": parts, "calculate_output": "1 / right"}
    read = READ.validate_python(grader)
    assert grade_answer(read, "R50", {"category": "R50"}) == Graded(1.0, {"right": 1.0})
    assert grade_answer(read, "", {"category": "R50"}).fault == "formula"


GRADED = """
[[objective.graders]]
type = "string_check"
name = "right"
operation = "eq"
input = "{{sample.output_text}}"
reference = "{{item.answer}}"
"""


def test_a_manifest_names_graders_instead_of_metrics(tmp_path: Path) -> None:
    head = REWARDED[: REWARDED.index("rewards =")]
    (tmp_path / "tiny.toml").write_text(head + GRADED)
    table: Any = load_manifest(tmp_path / "tiny.toml").objective
    assert [grader.name for grader in table.graders] == ["right"]
    (tmp_path / "tiny.toml").write_text(head)
    (fault,) = check_manifest(tmp_path / "tiny.toml")[1]
    assert "nothing says what an answer is worth" in fault.message
    for odd in ("{{item}}", "{{sample.output_json.x}}", "{{ x }}"):
        (tmp_path / "tiny.toml").write_text(head + GRADED.replace("{{item.answer}}", odd))
        (fault,) = check_manifest(tmp_path / "tiny.toml")[1]
        assert fault.key == "objective.graders[0].reference", fault
    (tmp_path / "tiny.toml").write_text(head + GRADED.replace("string_check", "python"))
    assert check_manifest(tmp_path / "tiny.toml")[1]


ASKING = """
[[objective.graders]]
type = "score_model"
name = "helpful"
model = "gpt-4.1"
range = [0, 10]
input = [{ role = "user", content = "{{item.question}}: {{sample.output_text}}" }]
"""
JUDGE = """
[objective.judge]
endpoint = "http://localhost:8000/v1#judge"
kind = "graders"
"""


def test_a_grader_that_asks_a_model_needs_a_judge(tmp_path: Path) -> None:
    head = REWARDED[: REWARDED.index("rewards =")]
    path = tmp_path / "tiny.toml"

    def faults(text: str) -> list[tuple[str, str]]:
        path.write_text(head + text)
        return [(fault.key, fault.message) for fault in check_manifest(path)[1]]

    assert faults(JUDGE + ASKING) == []
    table: Any = load_manifest(path).objective
    assert table.graders[0].input[0].content == "{{item.question}}: {{sample.output_text}}"
    assert [key for key, _ in faults(ASKING)] == ["objective.graders[0]"]
    (none, *_) = faults(JUDGE + GRADED)
    assert none == ("objective.judge.kind", "no grader asks the judge")
    assert faults(JUDGE.replace("graders", "pairwise")) == []
    for odd in ("http://localhost:8000/v1", "localhost#judge", "http://u:p@x/v1#judge", "#x"):
        found = faults(JUDGE.replace("http://localhost:8000/v1#judge", odd) + ASKING)
        assert [key for key, _ in found] == ["objective.judge.endpoint"], odd
    (one,) = faults(JUDGE + ASKING.replace("[0, 10]", "[1, 1]"))
    assert "the least number and a higher one" in one[1]


def test_python_is_read_before_it_is_run(tmp_path: Path) -> None:
    python = {"type": "python", "name": "p", "source": "def grade(sample, item):\n    return 1"}
    grader = READ.validate_python(python)
    with pytest.raises(InvalidInput, match="`python` grader is not run here"):
        grade_answer(grader, "", {})
    assert grade(grader, "", ROW, {"": 0.25}) == 0.25
    for source in ("def grade(", "grade = 3", "def other(sample, item): return 1"):
        with pytest.raises(ValidationError, match=r"no Python|defines no `grade"):
            READ.validate_python({**python, "source": source})


def test_what_is_given_elsewhere_is_not_asked_for_beforehand() -> None:
    """But the columns are, of every grader of a formula."""
    asking = {
        "type": "score_model",
        "name": "m",
        "model": "judge",
        "input": [{"role": "user", "content": "{{item.category}}"}],
    }
    parts = {"good": asking, "right": check("eq")}
    formula = {"type": "multi", "name": "both", "graders": parts}
    multi = READ.validate_json(json.dumps({**formula, "calculate_output": "1 / good * right"}))
    require_columns(multi, ROW)
    assert grade(multi, "R50", ROW, {"good": 0.5}) == 2.0
    for name, broken in (
        ("good", {**asking, "input": [{"role": "user", "content": "{{item.none}}"}]}),
        ("right", check("eq", reference="{{item.none}}")),
    ):
        table = {**formula, "graders": {**parts, name: broken}, "calculate_output": "good * right"}
        with pytest.raises(InvalidInput, match="row 3 has no column `none`"):
            require_columns(READ.validate_json(json.dumps(table)), ROW)
