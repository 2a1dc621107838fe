"""Experts are found in a checkpoint's headers where bitsandbytes leaves them whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from adapterworks.builders.methods.linears import has_experts
from adapterworks.registry.bases.complete import meta_model
from adapterworks.registry.bases.experts import holds_experts
from adapterworks.registry.bases.nf4 import load_nf4
from bench.architectures import make_base


@pytest.mark.parametrize(
    "name", ["Mixtral", "Qwen3-MoE", "GPT-OSS", "DeepSeek-V3", "Llama", "Gemma3", "Falcon"]
)
def test_the_files_say_what_the_model_is(name: str, tmp_path: Path) -> None:
    base = make_base(name, tmp_path)
    assert holds_experts(base) is has_experts(meta_model(base))


@pytest.mark.parametrize("name", ["Mixtral", "GPT-OSS"])
def test_nf4_leaves_experts_as_they_are(name: str, tmp_path: Path) -> None:
    """What a plan says of them, and why their engines are given the dense weights."""
    import bitsandbytes

    model = load_nf4(make_base(name, tmp_path), double_quantization=True)
    whole = [name for name, value in model.named_parameters() if ".experts." in name]
    assert whole
    assert not any(
        isinstance(value, bitsandbytes.nn.Params4bit)
        for name, value in model.named_parameters()
        if ".experts." in name
    )
    assert any(isinstance(value, bitsandbytes.nn.Params4bit) for value in model.parameters())


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        ({"layers.0.moe.input_linear.weight": (4, 8, 6)}, True),
        ({"layers.0.mlp.experts.3.w1.weight": (8, 6)}, True),
        ({"layers.0.conv1d.weight": (8, 1, 4)}, False),
        ({"vision.cls_token": (1, 1, 8), "vision.position_embeddings": (1, 5, 8)}, False),
        ({"vision.patch_embedding.weight": (8, 3, 2, 2)}, False),
        ({"layers.0.mlp.expert_bias": (8, 6), "norm": (8,)}, False),
    ],
)
def test_a_stack_is_one_whatever_its_name(
    shapes: dict[str, tuple[int, ...]], found: bool, tmp_path: Path
) -> None:
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    save_file(tensors, tmp_path / "model.safetensors")
    assert holds_experts(tmp_path) is found
