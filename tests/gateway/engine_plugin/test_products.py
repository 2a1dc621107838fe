"""The grouped path equals vLLM's stock path on random layers, ranks, mixes and reloads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapterworks.gateway.engine_plugin.cpu_lora import GroupedPunicaWrapper
from tests.gateway.engine_plugin.conftest import HIDDEN, MAX_LORAS, MAX_RANK, SHAPES

MAX_ROWS = 256


class Pair:
    """One real layer with the stock wrapper, one with ours, and the same adapters in both."""

    def __init__(self, lora_layer: Any, kind: str, seed: int) -> None:
        from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

        self.sizes = SHAPES[kind]
        self.random = torch.Generator().manual_seed(seed)
        self.stock, self.ours = lora_layer(kind), lora_layer(kind)
        self.stock_wrapper = PunicaWrapperCPU(MAX_ROWS, 64, "cpu")
        self.our_wrapper = GroupedPunicaWrapper(MAX_ROWS, 64, "cpu")
        self.stock.set_mapping(self.stock_wrapper)
        self.ours.set_mapping(self.our_wrapper)
        self.our_wrapper.adopt(self.ours)

    def _random(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.random)

    def load(self, slot: int, rank: int, touched: tuple[bool, ...]) -> None:
        """Load one random adapter into both; an adapter that touches nothing resets the slot."""
        used = [touched[i % len(touched)] for i in range(len(self.sizes))]
        a = [self._random(rank, HIDDEN) if u else None for u in used]
        b = [
            self._random(size, rank) if u else None
            for size, u in zip(self.sizes, used, strict=True)
        ]
        for layer in (self.stock, self.ours):
            if not any(used):
                layer.reset_lora(slot)
            elif len(used) == 1:
                layer.set_lora(slot, a[0], b[0])
            else:
                layer.set_lora(slot, a, b)

    def check(self, slots: list[int]) -> None:
        from vllm.lora.layers import LoRAMapping

        ids = [slot + 1 if slot >= 0 else 0 for slot in slots]
        mapping = LoRAMapping(tuple(ids), tuple(ids), is_prefill=True)
        for wrapper in (self.stock_wrapper, self.our_wrapper):
            wrapper.update_metadata(mapping, list(range(1, MAX_LORAS + 1)), MAX_LORAS + 1, 100)
        x = self._random(len(slots), HIDDEN)
        before = self._random(len(slots), sum(self.sizes))
        want, got = before.clone(), before.clone()
        for layer, y in ((self.stock, want), (self.ours, got)):
            layer.punica_wrapper.add_lora_linear(
                y, x, layer.lora_a_stacked, layer.lora_b_stacked, 1.0, layer.output_slices
            )
        base_rows = [row for row, slot in enumerate(slots) if slot < 0]
        # The stock path indexes with -1 here, i.e. gives base rows the last slot's adapter.
        want[base_rows] = before[base_rows]
        torch.testing.assert_close(got, want, rtol=1e-5, atol=2e-4)
        assert torch.equal(got[base_rows], before[base_rows])


adapters = st.lists(
    st.tuples(st.integers(1, MAX_RANK), st.tuples(st.booleans(), st.booleans(), st.booleans())),
    min_size=MAX_LORAS,
    max_size=MAX_LORAS,
)
mixes = st.lists(
    st.tuples(st.integers(-1, MAX_LORAS - 1), st.sampled_from([1, 1, 1, 2, 5, 17, 30])),
    min_size=1,
    max_size=8,
).map(lambda runs: [slot for slot, length in runs for _ in range(length)])


@pytest.mark.parametrize("kind", list(SHAPES))
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(adapters=adapters, first=mixes, second=mixes, seed=st.integers(0, 2**16))
def test_grouped_equals_stock(
    lora_layer: Any,
    kind: str,
    adapters: list[tuple[int, tuple[bool, ...]]],
    first: list[int],
    second: list[int],
    seed: int,
) -> None:
    pair = Pair(lora_layer, kind, seed)
    for slot, (rank, touched) in enumerate(adapters):
        pair.load(slot, rank, touched)
    pair.check(first)
    pair.check(second)


@pytest.mark.parametrize("kind", list(SHAPES))
def test_slots_in_another_order_than_their_rows(lora_layer: Any, kind: str) -> None:
    pair = Pair(lora_layer, kind, seed=7)
    for slot in range(3):
        pair.load(slot, 4, (True,) * len(pair.sizes))
    for slots in ([2, 0, 1], [1, 1, 0, 0], [2, 1, 1, 0], [1, -1, 0, 2]):
        pair.check(slots)


def test_a_slot_reloaded_during_a_batch_is_used_at_once(lora_layer: Any) -> None:
    """vLLM's `load_inplace` rewrites a slot without a new mapping; views and copies must follow."""
    pair = Pair(lora_layer, "qkv", seed=1)
    for slot in range(MAX_LORAS):
        pair.load(slot, 8, (True,))
    mix = [0, 2, 5, -1]
    pair.check(mix)
    pair.load(2, 3, (True, False, True))
    pair.check(mix)
    pair.load(5, 8, (False,))
    pair.check(mix)


def test_vllm_48421_base_rows_are_neither_read_nor_written(lora_layer: Any) -> None:
    pair = Pair(lora_layer, "gate_up", seed=2)
    pair.load(0, 8, (True,))
    from vllm.lora.layers import LoRAMapping

    mapping = LoRAMapping((0, 1, 0, 1), (0, 1, 0, 1), is_prefill=True)
    pair.our_wrapper.update_metadata(mapping, list(range(1, MAX_LORAS + 1)), MAX_LORAS + 1, 100)
    x = torch.randn(4, HIDDEN)
    x[0] = float("nan")
    y = torch.full((4, sum(SHAPES["gate_up"])), 7.0)
    pair.our_wrapper.add_lora_linear(
        y, x, pair.ours.lora_a_stacked, pair.ours.lora_b_stacked, 1.0, pair.ours.output_slices
    )
    assert (y[[0, 2]] == 7.0).all()
    assert torch.isfinite(y).all()


def test_stock_operations_see_the_same_weights(lora_layer: Any) -> None:
    """What we do not replace (here shrink and expand) works on the tensors we laid out anew."""
    from vllm.lora.layers import LoRAMapping

    pair = Pair(lora_layer, "qkv", seed=3)
    pair.load(1, 8, (True,))
    mapping = LoRAMapping((2, 0, 2), (2, 0, 2), is_prefill=True)
    outputs = []
    x = torch.randn(3, HIDDEN)
    for layer in (pair.stock, pair.ours):
        wrapper = layer.punica_wrapper
        wrapper.update_metadata(mapping, list(range(1, MAX_LORAS + 1)), MAX_LORAS + 1, 100)
        h = torch.zeros(3, 3, MAX_RANK)
        y = torch.zeros(3, sum(SHAPES["qkv"]))
        wrapper.add_shrink(h, x, layer.lora_a_stacked, 1.0)
        wrapper.add_expand(y, h, layer.lora_b_stacked, layer.output_slices)
        outputs.append(y)
    torch.testing.assert_close(outputs[0], outputs[1])


@pytest.mark.parametrize("loaded", [True, False])
def test_vllm_48421_logits_of_base_rows_stay_the_bases(vllm_cpu: Any, loaded: bool) -> None:
    """Stock gives base rows the last slot's adapter, and multiplies by zeros when none is there."""
    from types import SimpleNamespace

    from vllm.lora.layers import LoRAMapping
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    vocabulary, rank, last = 50, 4, MAX_LORAS - 1
    a, b = torch.zeros(MAX_LORAS, 1, rank, HIDDEN), torch.zeros(MAX_LORAS, 1, vocabulary, rank)

    def fill(index: int, lora_a: torch.Tensor, lora_b: torch.Tensor) -> None:
        a[index, 0], b[index, 0] = lora_a, lora_b

    layer = SimpleNamespace(
        lora_a_stacked=a, lora_b_stacked=b, set_lora=fill, reset_lora=lambda index: None
    )
    ours, stock = GroupedPunicaWrapper(8, 8, "cpu"), PunicaWrapperCPU(8, 8, "cpu")
    ours.adopt(layer)
    if loaded:
        layer.set_lora(last, torch.randn(rank, HIDDEN), torch.randn(vocabulary, rank))
    rows = (last + 1, 0, last + 1)
    x, before = torch.randn(3, HIDDEN), torch.randn(3, vocabulary)
    got, want = before.clone(), before.clone()
    for wrapper, y in ((ours, got), (stock, want)):
        wrapper.update_metadata(
            LoRAMapping(rows, rows, is_prefill=True),
            list(range(1, MAX_LORAS + 1)),
            MAX_LORAS + 1,
            100,
        )
        wrapper.add_lora_logits(y, x, a, b, 1.0)
    assert torch.equal(got[1], before[1])
    torch.testing.assert_close(got[[0, 2]], want[[0, 2]])
    assert torch.equal(want[1], before[1]) is not loaded
