"""The variants of one task that `adapters compare` trains."""

from __future__ import annotations

import pytest

from builders.compare import variant
from builders.methods import METHODS
from manifests.errors import InvalidInput
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
