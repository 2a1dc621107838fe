"""The method on the base's shapes: counted before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.plan.attached import check_attached
from adapterworks.manifests.errors import InvalidInput
from adapterworks.registry.bases.complete import meta_model
from bench.architectures import make_base
from tests.builders.build_support import KINDS, manifest_for


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_planned_is_what_would_be_trained(kind: str, tiny: Path) -> None:
    manifest = manifest_for(kind)
    planned = METHODS[kind].trainable(read_shape(tiny), manifest.method)
    check_attached(manifest, tiny, planned=planned, steps=12)
    if METHODS[kind].soft_prompt:
        return
    with pytest.raises(InvalidInput, match=f"would train {planned:,} parameters"):
        check_attached(manifest, tiny, planned=planned + 1, steps=12)


def test_no_weight_is_there(tiny: Path) -> None:
    assert {parameter.device.type for parameter in meta_model(tiny).parameters()} == {"meta"}


def test_experts_are_left_out_and_said_so(tmp_path: Path) -> None:
    """PEFT's own `all-linear` would adapt them, as tensors that no engine takes a LoRA for."""
    base = make_base("Mixtral", tmp_path / "base")
    shape = read_shape(base)
    assert {linear.leaf for linear in shape.linears} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert shape.experts
    manifest = manifest_for("lora")
    planned = METHODS["lora"].trainable(shape, manifest.method)
    check_attached(manifest, base, planned=planned, steps=12)
    with pytest.raises(InvalidInput, match="outside its experts, which get no adapter"):
        shape.targeted(("gate_proj",))
    experts = manifest_for("lora", method={"target_modules": ["w1", "w2", "w3"]})
    with pytest.raises(InvalidInput, match=r"cannot be trained|would train"):
        check_attached(experts, base, planned=planned, steps=12)


def test_what_a_library_refuses_is_refused_with_its_reason(tiny: Path) -> None:
    manifest = manifest_for("lora", method={"target_modules": ["no_such_module"]})
    with pytest.raises(InvalidInput, match=r"cannot be trained: .*no_such_module"):
        check_attached(manifest, tiny, planned=1, steps=12)
