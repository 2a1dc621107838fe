"""Graders as metrics: named in a manifest, worth what they are worth as rewards, digested."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.data.rows import chat
from adapterworks.builders.evaluation.metrics import metric
from adapterworks.builders.evaluation.metrics.metric import Prediction
from adapterworks.builders.evaluation.needs import metrics_of
from adapterworks.builders.objectives import graders as arithmetic
from adapterworks.builders.plan.pins import pins
from adapterworks.manifests.digests import digest_file
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.extensions import source_digest
from adapterworks.manifests.faults import ManifestError
from adapterworks.manifests.load import load_manifest
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.naming import of_record

HEAD = """
[adapter]
name = "x"
[base]
model = "smollm2-135m-instruct"
[method]
kind = "lora"
[data]
train = "train.jsonl"
test = "test.jsonl"
"""
GRADERS = """
[[evaluate.graders]]
type = "string_check"
name = "right"
operation = "eq"
input = "{{sample.output_text}}"
reference = "{{item.code}}"
[[evaluate.graders]]
type = "multi"
name = "both"
calculate_output = "0.75 * right + 0.25 * alike"
graders.right = { type = "string_check", name = "right", operation = "ilike", input = "{{sample.output_text}}", reference = "{{item.answer}}" }
graders.alike = { type = "text_similarity", name = "alike", evaluation_metric = "rouge_1", input = "{{sample.output_text}}", reference = "{{item.answer}}" }
"""  # noqa: E501
NAMED = """
[evaluate]
metrics = ["exact_match", "grader:right", "grader:both"]
[[evaluate.gates]]
metric = "grader:both"
"""
ROWS = [chat("q", "a b", code="A"), chat("q", "c d", code="C")]


def manifest(folder: Path, text: str = NAMED + GRADERS) -> Manifest:
    path = folder / "x.toml"
    path.write_text(HEAD + text)
    return load_manifest(path)


def answers(*texts: str) -> list[Prediction]:
    return [Prediction(text) for text in texts]


def test_a_grader_is_a_metric_by_its_name(tmp_path: Path) -> None:
    table = manifest(tmp_path).evaluate
    right, both = (metric(name) for name in table.metrics[1:])
    assert (right.name, right.binary, right.is_mean) == ("grader:right", True, True)
    assert (both.name, both.binary) == ("grader:both", False)
    assert right.value(right.statistics(answers("A", "x"), ROWS)) == 0.5
    # Of the second row's two words one, in an answer of one: F1 is 2/3.
    scores = both.per_example(both.statistics(answers("A B a b", "c"), ROWS))
    assert scores == pytest.approx([0.75 + 0.25 * (2 * 2 / 6), 0.25 * 2 / 3])
    for name, row, answer in zip(table.metrics[1:], ROWS, ("A", "c"), strict=True):
        one = metric(name)
        assert one.score(answer, row) == arithmetic.grade(name.grader, answer, row)  # type: ignore[attr-defined]
    assert [one.name for one in metrics_of(table)] == list(table.metrics)


def test_a_gate_judges_by_it(tmp_path: Path) -> None:
    table = manifest(tmp_path).evaluate
    assert metric(table.gates[0].metric).name == "grader:both"
    # Of a release too: it is data, not code.
    again = of_record(json.loads(manifest(tmp_path).model_dump_json())).evaluate
    assert metric(again.metrics[2]).name == "grader:both"
    for copied in (pickle.loads(pickle.dumps(table)), copy.deepcopy(table), table.model_copy()):
        assert metric(copied.metrics[1]).name == "grader:right"


def test_rows_that_lack_what_it_reads_are_refused_before_a_training(
    tmp_path: Path,
) -> None:
    right = metric(manifest(tmp_path).evaluate.metrics[1])
    assert right.require is not None
    right.require(ROWS)
    with pytest.raises(InvalidInput, match="code"):
        right.require([*ROWS, chat("q", "a")])


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        (NAMED, "evaluate.metrics", "`grader:right` is no grader of `evaluate.graders`"),
        (
            '[evaluate]\nmetrics = ["exact_match"]\n[[evaluate.gates]]\nmetric = "grader:x"\n',
            "evaluate.gates",
            "`grader:x` is no grader",
        ),
        (GRADERS + GRADERS, "evaluate.graders", "two graders are called `right`"),
    ],
)
def test_what_is_not_there_is_a_fault_of_the_manifest(
    tmp_path: Path, text: str, key: str, said: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        manifest(tmp_path, text)
    assert any(fault.key.startswith(key) and said in fault.message for fault in caught.value.faults)


def test_a_reward_is_no_grader_by_name(tmp_path: Path) -> None:
    objective = '[objective]\nkind = "grpo"\nrewards = ["grader:right"]\n'
    with pytest.raises(ManifestError):
        manifest(tmp_path, objective + NAMED + GRADERS)


def test_its_digest_is_of_what_computes_it(tmp_path: Path) -> None:
    name: Any = manifest(tmp_path).evaluate.metrics[1]
    assert source_digest("metrics", name) == digest_file(Path(arithmetic.__file__))
    assert pins(manifest(tmp_path)) == ()
