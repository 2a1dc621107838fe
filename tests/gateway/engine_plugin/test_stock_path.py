"""Where vLLM's own path serves: its sums, on our layout of the weights, and the base's rows stay.

Two slices of 2 and 1 columns, three inputs. Slot 0 gives x·A·B = (x₀, x₁, 10·x₂), slot 1 gives
100·(x₀ + x₁ + x₂) in every column.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from vllm.lora.layers import LoRAMapping
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

from adapterworks.gateway.engine_plugin.cpu_lora import GroupedPunicaWrapper

SLOTS, RANK, IN, OUT = 2, 2, 3, (2, 1)
X = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
ROWS = (1, 0, 2)  # as vLLM counts: 0 is the base, n is slot n - 1
ADDED = torch.tensor([[1.0, 2.0, 30.0], [0.0, 0.0, 0.0], [2400.0, 2400.0, 2400.0]])


class Layer:
    """A linear layer with two slices and both slots filled."""

    output_slices = OUT

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        a = torch.tensor([[[[1, 0, 0], [0, 1, 0]]], [[[1, 1, 1], [0, 0, 0]]]])
        second = torch.tensor([[[[0, 0, 1], [0, 0, 0]]], [[[1, 1, 1], [0, 0, 0]]]])
        b = torch.tensor([[[[1, 0], [0, 1]]], [[[100, 0], [100, 0]]]])
        other = torch.tensor([[[[10, 0]]], [[[100, 0]]]])
        self.lora_a_stacked: Any = (a.to(dtype), second.to(dtype))
        self.lora_b_stacked: Any = (b.to(dtype), other.to(dtype))

    def reset_lora(self, index: int) -> None:
        """Not needed here."""

    def set_lora(self, index: int, lora_a: Any, lora_b: Any) -> None:
        """They are filled already; this says so."""


def _mapped(wrapper: PunicaWrapperCPU, rows: tuple[int, ...] = ROWS, prefill: bool = True) -> Any:
    mapping = LoRAMapping(rows, rows, is_prefill=prefill)
    wrapper.update_metadata(mapping, [*range(1, SLOTS + 1)], SLOTS + 1, 100)
    return wrapper


@pytest.fixture(params=[True, False], ids=["prefill", "decode"])
def wrapper(request: pytest.FixtureRequest) -> GroupedPunicaWrapper:
    made: GroupedPunicaWrapper = _mapped(GroupedPunicaWrapper(8, 8, "cpu"), prefill=request.param)
    return made


def _adopted(wrapper: GroupedPunicaWrapper) -> Layer:
    layer = Layer()
    a, b = layer.lora_a_stacked, layer.lora_b_stacked
    wrapper.adopt(layer)  # type: ignore[arg-type]
    for slot in range(SLOTS):
        layer.set_lora(slot, [one[slot, 0] for one in a], [one[slot, 0] for one in b])
    return layer


def _add(
    wrapper: Any, layer: Any, x: torch.Tensor, y: torch.Tensor, scale: float = 1.0, **more: Any
) -> None:
    wrapper.add_lora_linear(
        y, x, layer.lora_a_stacked, layer.lora_b_stacked, scale, layer.output_slices, **more
    )


@pytest.mark.parametrize(
    "why", ["nothing", "a scale", "x is a view", "y is a view", "an option", "another type"]
)
def test_every_sum_is_the_same_whoever_makes_it(wrapper: GroupedPunicaWrapper, why: str) -> None:
    layer = _adopted(wrapper)
    x, y = X.clone(), torch.full((3, 3), 7.0)
    scale = 2.0 if why == "a scale" else 1.0
    options = {"of_another_version": True} if why == "an option" else {}
    if why == "x is a view":
        x = X.repeat(1, 2)[:, :IN]
        assert not x.is_contiguous()
    elif why == "y is a view":
        y = torch.full((3, 6), 7.0)[:, ::2]
        assert not y.is_contiguous()
    elif why == "another type":
        x = x.to(torch.bfloat16)
    _add(wrapper, layer, x, y, scale, **options)
    assert torch.equal(y, 7 + scale * ADDED)


def test_a_layer_that_was_not_taken_over_is_vllms(wrapper: GroupedPunicaWrapper) -> None:
    """Experts and sharded ranks never are; what it adds to the base's rows is taken back."""
    y = torch.full((3, 3), 7.0)
    _add(wrapper, Layer(), X, y)
    assert torch.equal(y, 7 + ADDED)


def test_of_a_batch_without_adapters_nothing_is_asked() -> None:
    wrapper = _mapped(GroupedPunicaWrapper(8, 8, "cpu"), (0, 0, 0))
    y = torch.full((3, 3), 7.0)
    _add(wrapper, Layer(), X, y, scale=2.0)
    assert (y == 7).all()


@pytest.mark.parametrize("filled", [(), (0,), (1,), (0, 1)])
def test_embeddings_are_vllms_where_the_batch_has_an_adapter_of_them(
    wrapper: GroupedPunicaWrapper, filled: tuple[int, ...]
) -> None:
    """B [2 columns, rank]: 1 and 10 times the two ranks in slot 0, nothing but 100 in slot 1."""
    b = torch.tensor([[[[1.0, 0.0], [0.0, 10.0]]], [[[100.0, 100.0], [100.0, 100.0]]]])
    layer = SimpleNamespace(
        lora_b_stacked=b, set_lora=lambda *_: None, reset_lora=lambda index: None
    )
    wrapper.adopt(layer)  # type: ignore[arg-type]
    for slot in filled:
        layer.set_lora(slot, None, None)
    y = torch.full((3, 2), 7.0)
    wrapper.add_lora_embedding(y, X[:, :2].contiguous(), b)
    asked = bool(filled)  # slots 0 and 1 are both in the batch
    assert y.tolist() == (
        [[7 + 1, 7 + 20], [7, 7], [7 + 1500, 7 + 1500]] if asked else [[7, 7]] * 3
    )
