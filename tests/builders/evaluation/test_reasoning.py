"""Answers of bases that reason: what is said is scored, judged and rewarded, and all of it kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from adapterworks.builders.data.rows import Row, chat
from adapterworks.builders.engines.engine import Completion, Sampling
from adapterworks.builders.evaluation.asking import Asked
from adapterworks.builders.evaluation.evaluate import evaluate, evaluate_generators
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.evaluation.metrics.metric import Prediction, mean_metric
from adapterworks.builders.evaluation.nearest import nearest_answers
from adapterworks.builders.evaluation.recorded import evaluate_again
from adapterworks.builders.evaluation.suites.gsm8k import SUITE as GSM8K
from adapterworks.builders.objectives.graders import grade, grade_sampled
from adapterworks.builders.objectives.grading import grade_answer
from adapterworks.builders.rewards.external import _item
from adapterworks.builders.rewards.pairwise import pairs
from adapterworks.builders.rewards.pointwise import scoring
from adapterworks.builders.rewards.python_grader import sample_of
from adapterworks.manifests.evaluate_tables import EvaluateTable, SamplesTable
from adapterworks.manifests.graders import StringCheck
from tests.builders.data.shapes import SHAPES
from tests.builders.evaluation.test_judge import judged

ROWS = [chat(f"q{n}", "R50.9") for n in range(12)]
SAID = "<think>\n\n</think>\n\nR50.9"  # what an adapter of Qwen3's template may say
GRADER = StringCheck(
    type="string_check",
    name="same",
    input="{{ sample.output_text }}",
    reference="{{ item.answer }}",
    operation="eq",
)


class Session:
    """Answers every prompt with a text."""

    def __init__(self, text: str, tokenizer: Any) -> None:
        self.ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    def complete(
        self, subject: object, prompts: Sequence[Any], sampling: Sampling, **_: object
    ) -> list[tuple[Completion, ...]]:
        said = Completion(self.ids, (0.0,) * len(self.ids), "length")
        return [(said,) * sampling.n for _ in prompts]


def asked(text: str, shape: str = "qwen-3") -> Callable[[], Asked]:
    tokenizer = SHAPES[shape].tokenizer()
    return lambda: Asked(Session(text, tokenizer), None, tokenizer, ())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "worth"),
    [("exact_match", 1.0), ("accuracy", 1.0), ("rouge_l", 1.0), ("chrf", 1.0)],
)
def test_a_right_answer_behind_reasoning_is_right(name: str, worth: float) -> None:
    """As a metric and as a reward, which is the same score."""
    for answer in ("R50.9", SAID, "<think>Not I10.\n</think>R50.9", "[THINK]a[/THINK]R50.9"):
        assert metric(name).score(answer, ROWS[0]) == pytest.approx(worth)
    assert metric(name).score("<think>R50.9", ROWS[0]) == 0.0  # it never said it
    reasoned = chat("q", "<think>\nso\n</think>\n\nR50.9")
    assert metric(name).score("R50.9", reasoned) == pytest.approx(worth)


def test_what_a_subject_says_is_scored_and_all_of_it_kept() -> None:
    table = EvaluateTable(metrics=("exact_match",), samples=SamplesTable(n=2, k=(1,)))
    subjects = {"base": asked("<think>it goes on and"), "candidate": asked(SAID)}
    found = evaluate_generators(subjects, ROWS, table)
    assert found.report["metrics"]["exact_match"]["values"] == {"base": 0.0, "candidate": 1.0}
    passes = found.report["samples"]["metrics"]["exact_match"]["pass@1"]["values"]
    assert passes == {"base": 0.0, "candidate": 1.0}
    line = json.loads(found.predictions_jsonl().split("\n")[0])
    assert line["answers"] == {"base": "", "candidate": "R50.9"}
    assert line["whole"] == {"base": "<think>it goes on and", "candidate": SAID}
    assert line["samples"]["candidate"] == ["R50.9", "R50.9"]
    assert line["whole_samples"]["candidate"] == [SAID, SAID]
    again = evaluate_again(ROWS, found.report, found.predictions_jsonl(), table, seed=42)
    assert again is not None
    assert again.predictions == found.predictions
    plain = evaluate_generators({"candidate": asked("R50.9")}, ROWS, table)
    assert not {"whole", "whole_samples"} & plain.predictions[0].keys()


def test_predictions_of_an_earlier_version_are_read_as_they_would_be_now() -> None:
    table = EvaluateTable(metrics=("exact_match",))
    before = evaluate(ROWS, {"candidate": [Prediction("R50.9")] * 12}, table)
    lines = [json.loads(line) for line in before.predictions_jsonl().split("\n") if line]
    told = "\n".join(json.dumps({**line, "answers": {"candidate": SAID}}) for line in lines)
    again = evaluate_again(ROWS, before.report, told, table, seed=42)
    assert again is not None
    assert again.values() == {"exact_match": 1.0}
    assert again.predictions[0]["whole"] == {"candidate": SAID}


def test_a_prompt_that_opens_reasoning_is_a_part_of_what_is_kept() -> None:
    generator = asked("so it is\n</think>\n\nR50.9", "qwen-3-thinking")()
    (said,) = generator.generate([ROWS[0].prompt], max_new_tokens=9, batch_size=1)
    assert (said, [*generator.whole]) == ("R50.9", ["<think>\nso it is\n</think>\n\nR50.9"])
    unfinished = asked("so it is", "qwen-3-thinking")()
    assert unfinished.generate([ROWS[0].prompt], max_new_tokens=9, batch_size=1) == [""]


def test_a_suite_of_answers_reads_what_is_said() -> None:
    cases = [{"prompt": "1 + 1?", "expected": "2"}]
    assert GSM8K.score(asked("<think>1 + 1 = 2</think>2")(), cases, None) == [1.0]
    assert GSM8K.score(asked("<think>1 + 1 = 2")(), cases, None) == [0.0]


def test_a_metric_of_formats_reads_the_reasoning() -> None:
    def _thought(predictions: Sequence[Prediction], rows: Sequence[Row]) -> list[float]:
        return [float(one.text.startswith("<think>")) for one in predictions]

    thought = replace(mean_metric("thought", "It reasons", _thought), reads_reasoning=True)
    assert thought.score(SAID, ROWS[0]) == 1.0
    said = [Prediction("R50.9", whole=SAID), Prediction("R50.9")]
    assert thought.measured(said, ROWS[:2]).ravel().tolist() == [1.0, 0.0]


def test_judges_are_shown_what_is_said() -> None:
    asked_of: list[tuple[str, str]] = []

    def decide(texts: tuple[str, str]) -> str:
        asked_of.append(texts)
        return f"Verdict: {'AB'[texts.index('good')]}"

    _, told, shown = judged(decide, ["<think>a</think>good", SAID], ["bad", "R50.9"])
    assert (told["wins"], told["tied"]) == (1, 1)  # the same words are a tie, without a judge
    assert not any("think" in text for text in shown)
    assert sorted(asked_of) == [("bad", "good"), ("good", "bad")]  # both at once
    chats = [*pairs(ROWS[0], [SAID, "<think>b</think>I10"]).chats, *scoring(ROWS[0], SAID, 1)]
    assert not any("think" in turn["content"] for one in chats for turn in one.messages)


def test_graders_are_given_what_is_said_of_answer_and_reference() -> None:
    reasoned = chat("q", SAID)
    for row in (ROWS[0], reasoned):
        assert grade(GRADER, SAID, row) == grade(GRADER, "R50.9", row) == 1.0
        assert grade_sampled(GRADER, "<think>R50.9", row) == 0.0
    assert grade_answer(GRADER, SAID, {"answer": "R50.9"}).reward == 1.0
    assert (sample_of(SAID)["output_text"], _item(reasoned)["answer"]) == ("R50.9", "R50.9")
    assert sample_of("<think>a</think>[1]")["output_json"] == [1]


def test_the_nearest_row_answers_without_its_reasoning() -> None:
    (said,) = nearest_answers([chat("q", SAID)], [chat("q", "?")])
    assert said.text == "R50.9"
