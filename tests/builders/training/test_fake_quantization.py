"""Training with rounded weights: the grid is GGUF's, gradients pass, nothing rounded is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from torch.nn import functional

from adapterworks.builders.training.fake_quantization import (
    ROUNDINGS,
    q4_0,
    q8_0,
    round_weights,
    through,
)
from adapterworks.builders.training.model import build_model, save_adapter
from tests.builders.build_support import TinyJob

Make = Callable[..., TinyJob]
FORMATS = {"int8": gguf.GGMLQuantizationType.Q8_0, "int4": gguf.GGMLQuantizationType.Q4_0}
IDS = torch.tensor([[0, 17, 42, 99, 130, 7, 201, 17]])


def matrix() -> torch.Tensor:
    """Blocks of ordinary numbers, of zeros, of one number, with ties, tiny and huge ones."""
    torch.manual_seed(0)
    rows = torch.randn(64, 96)
    rows[0, :32] = 0
    rows[1, :32] = -0.25
    rows[2, :32] = torch.tensor([1.0, -1.0] * 16)
    rows[3] *= 1e-7
    rows[4] *= 1e4
    rows[5, :32] = torch.arange(32) / 8 - 2
    return rows


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_the_grid_is_that_of_the_file(kind: str) -> None:
    """Every number as the `gguf` package writes it and reads it again."""
    rows = matrix()
    written = gguf.quants.quantize(rows.numpy(), FORMATS[kind])
    read = torch.from_numpy(gguf.quants.dequantize(written, FORMATS[kind]))
    assert torch.equal(ROUNDINGS[kind](rows), read)


def test_by_hand() -> None:
    """q4_0: −8 at the end of the scale, so d = 1, and +8 is none of its levels. q8_0: d = 1."""
    block = torch.zeros(1, 32)
    block[0, :6] = torch.tensor([-8.0, 7.0, 8.0, 0.4, 0.6, -3.5])
    assert q4_0(block)[0, :6].tolist() == [-8.0, 7.0, 7.0, 0.0, 1.0, -3.0]
    block[0, :6] = torch.tensor([127.0, -3.5, 3.5, 0.4, 0.6, -126.6])
    assert q8_0(block)[0, :6].tolist() == [127.0, -4.0, 4.0, 0.0, 1.0, -127.0]


def test_gradients_pass_as_if_nothing_was_rounded() -> None:
    weight = matrix().requires_grad_()
    given = torch.randn(3, 96)
    upstream = torch.randn(3, 64)
    product = functional.linear(given, through(weight, q4_0))
    assert torch.equal(product, given @ (weight + (q4_0(weight) - weight)).T)
    product.backward(upstream)
    assert weight.grad is not None
    assert torch.allclose(weight.grad, upstream.T @ given, atol=1e-5)


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_a_lora_is_rounded_together_with_its_base(job: Make, kind: str) -> None:
    """What is computed is what an export of the merged model holds, number by number."""
    from transformers import AutoModelForCausalLM

    planned = job("lora", quantization_aware=kind, method={"target_modules": ["q_proj", "up_proj"]})
    model: Any = build_model(planned.base, planned.plan)
    plain: Any = AutoModelForCausalLM.from_pretrained(planned.base, dtype=torch.float32)
    weights = dict(plain.named_parameters())
    torch.manual_seed(1)
    with torch.no_grad():
        for name, module in model.named_modules():
            if hasattr(module, "get_delta_weight"):
                module.lora_B["default"].weight.normal_(std=0.05)
                own = name.removeprefix("base_model.model.") + ".weight"
                weights[own].add_(module.get_delta_weight("default"))
        for name, weight in weights.items():
            if weight.dim() == 2:
                weight.copy_(ROUNDINGS["int8" if "embed" in name else kind](weight))
        assert torch.allclose(model(IDS).logits, plain(IDS).logits, atol=2e-5)
    trained = [p for p in model.parameters() if p.requires_grad]
    model(input_ids=IDS, labels=IDS).loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained)
    with torch.no_grad(), model.disable_adapter():
        assert not torch.allclose(model(IDS).logits, plain(IDS).logits, atol=1e-3)


def test_a_whole_model_is_rounded_and_what_is_saved_is_not(job: Make) -> None:
    planned = job("full", quantization_aware="int4")
    model: Any = build_model(planned.base, planned.plan)
    plain = {name: p.clone() for name, p in model.named_parameters()}
    before = model(IDS).logits.detach()
    assert torch.equal(torch.cat([p.flatten() for _, p in model.named_parameters()]),
                       torch.cat([p.flatten() for p in plain.values()]))  # fmt: skip
    folder = planned.folder / "adapter"
    folder.mkdir()
    save_adapter(model, folder, planned.plan)
    for name, tensor in planned.adapter().items():
        assert np.array_equal(tensor.float().numpy(), plain[name].detach().float().numpy())
    bare: Any = build_model(planned.base, job("full", name="bare").plan)
    assert not torch.allclose(bare(IDS).logits, before, atol=1e-3)
    with torch.no_grad():
        for name, p in bare.named_parameters():
            if p.dim() == 2:
                p.copy_(ROUNDINGS["int8" if "embed" in name else "int4"](p))
    assert torch.allclose(bare(IDS).logits, before, atol=2e-5)


def test_the_plan_knows_of_the_rounded_copies(job: Make) -> None:
    """Of every linear's 4 bytes a number, and of the largest one while it is rounded; ×1.6, the
    heap's share on a CPU."""
    usual = job("lora", name="usual").plan.memory["activations"]
    rounded = job("lora", name="rounded", quantization_aware="int8").plan.memory["activations"]
    linears = 2 * (64 * 64 * 2 + 64 * 32 * 2 + 64 * 128 * 3)
    assert rounded - usual == pytest.approx(1.6 * (4 * linears + 32 * 64 * 128), abs=2)


def test_rows_that_are_no_whole_blocks_stay_as_they_are() -> None:
    class Small(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.narrow = torch.nn.Linear(48, 64, bias=False).requires_grad_(False)
            self.wide = torch.nn.Linear(64, 64, bias=False).requires_grad_(False)

        def get_input_embeddings(self) -> None:
            return None

        get_output_embeddings = get_input_embeddings

    small = Small()
    narrow, wide = small.narrow.weight.clone(), small.wide.weight.clone()
    round_weights(small, "int4")
    assert torch.equal(small.narrow.weight, narrow)
    assert torch.equal(small.wide.weight, q4_0(wide))


def test_an_embedding_keeps_the_scale_of_its_class() -> None:
    """Gemma's multiplies by the root of the hidden size in its own `forward`."""

    class Scaled(torch.nn.Embedding):
        embed_scale = 8.0

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return super().forward(ids) * self.embed_scale

    class Model(torch.nn.Sequential):
        def get_input_embeddings(self) -> torch.nn.Module:
            return self[0]

        def get_output_embeddings(self) -> None:
            return None

    model = Model(Scaled(4, 32))
    ids = torch.tensor([1, 3])
    plain = model(ids)
    round_weights(model, "int8")
    assert torch.allclose(model(ids), plain, rtol=0, atol=0.2)
