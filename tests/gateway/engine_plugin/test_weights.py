"""One layer's weights as vLLM fills and empties their slots, on a layer of four columns by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adapterworks.gateway.engine_plugin.grouping import Rows
from adapterworks.gateway.engine_plugin.products import _Members
from adapterworks.gateway.engine_plugin.weights import LayerWeights, adopt, follow

SLOTS, RANK, IN = 3, 4, 5
OUT = (2, 6)  # two slices, as gate and up


class Layer:
    """vLLM's LoRA layer as far as it is touched: stacks, and what fills and empties a slot."""

    def __init__(self, out: tuple[int, ...] = OUT) -> None:
        self.output_slices = out
        self.lora_a_stacked: Any = tuple(torch.zeros(SLOTS, 1, RANK, IN) for _ in out)
        self.lora_b_stacked: Any = tuple(torch.zeros(SLOTS, 1, rows, RANK) for rows in out)
        self.calls: list[tuple[str, int]] = []

    def reset_lora(self, index: int) -> None:
        self.calls.append(("reset", index))
        for stacked in (*self.lora_a_stacked, *self.lora_b_stacked):
            stacked[index] = 0

    def set_lora(self, index: int, lora_a: Any, lora_b: Any) -> None:
        self.calls.append(("set", index))
        for stacked, given in zip(self.lora_a_stacked, lora_a, strict=True):
            if given is not None:
                stacked[index, 0, : given.shape[0]] = given
        for stacked, given in zip(self.lora_b_stacked, lora_b, strict=True):
            if given is not None:
                stacked[index, 0, :, : given.shape[1]] = given


def _pair(rank: int, out: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(rank, IN, generator=generator),
        torch.randn(out, rank, generator=generator),
    )


@pytest.fixture
def adopted() -> tuple[Layer, LayerWeights, list[str]]:
    layer, changes = Layer(), list[str]()
    weights = adopt(layer, lambda: changes.append("changed"))
    assert weights is not None
    return layer, weights, changes


def test_what_vllm_writes_is_what_is_multiplied(
    adopted: tuple[Layer, LayerWeights, list[str]],
) -> None:
    layer, weights, _ = adopted
    (a0, b0), (a1, b1) = _pair(2, OUT[0], 1), _pair(3, OUT[1], 2)
    layer.set_lora(1, [a0, a1], [b0, b1])
    torch.testing.assert_close(weights.a[1, :2, 0], a0)
    torch.testing.assert_close(weights.a[1, :3, 1], a1)
    torch.testing.assert_close(weights.b[1, :2, :2], b0.T)
    torch.testing.assert_close(weights.b[1, :3, 2:], b1.T)
    assert weights.offsets.tolist() == [0, 2, 8]


def test_the_rank_in_use_is_the_largest_of_the_slices(
    adopted: tuple[Layer, LayerWeights, list[str]],
) -> None:
    layer, weights, changes = adopted
    (a0, b0), (a1, b1) = _pair(2, OUT[0], 1), _pair(3, OUT[1], 2)
    layer.set_lora(1, [a0, a1], [b0, b1])
    assert weights.ranks.tolist() == [0, 3, 0]
    assert weights.used.tolist() == [[False] * 2, [True, True], [False] * 2]
    assert changes == ["changed"]
    # Filled again without having been emptied: the smaller one counts.
    layer.set_lora(1, [a0, None], [b0, None])
    assert weights.ranks.tolist() == [0, 2, 0]
    assert weights.used[1].tolist() == [True, False]
    assert changes == ["changed"] * 2


def test_an_emptied_slot_touches_nothing_and_is_told(
    adopted: tuple[Layer, LayerWeights, list[str]],
) -> None:
    layer, weights, changes = adopted
    (a0, b0), (a1, b1) = _pair(4, OUT[0], 1), _pair(4, OUT[1], 2)
    layer.set_lora(2, [a0, a1], [b0, b1])
    layer.reset_lora(2)
    assert layer.calls == [("set", 2), ("reset", 2)]
    assert changes == ["changed"] * 2
    assert weights.ranks.tolist() == [0, 0, 0]
    assert not weights.used.any()
    assert not weights.a[2].any()


def test_one_matrix_for_all_slices_touches_all_of_them() -> None:
    weights = LayerWeights(Layer().lora_a_stacked, Layer().lora_b_stacked, OUT)
    a, b = _pair(2, sum(OUT), 3)
    weights.note(0, a, b)
    assert weights.used[0].tolist() == [True, True]
    assert weights.ranks[0] == 2
    weights.note(0, [None, None], [None, None])
    assert weights.ranks[0] == 0
    assert not weights.used[0].any()


def test_layers_of_another_kind_are_left_as_they_are() -> None:
    for broken in ("one stack", "two ranks", "another number of slices", "experts"):
        layer = Layer()
        if broken == "one stack":
            layer.lora_a_stacked = layer.lora_a_stacked[0]
        elif broken == "two ranks":
            layer.lora_b_stacked = tuple(t[..., :2] for t in layer.lora_b_stacked)
        elif broken == "another number of slices":
            layer.output_slices = (8,)
        else:
            layer.lora_a_stacked = tuple(t.unsqueeze(1) for t in layer.lora_a_stacked)
        before = layer.lora_a_stacked
        assert adopt(layer, lambda: None) is None
        assert layer.lora_a_stacked is before


def test_a_layer_that_is_only_followed_knows_its_slots() -> None:
    layer = Layer()
    filled = follow(layer)
    (a0, b0), (a1, b1) = _pair(2, OUT[0], 1), _pair(2, OUT[1], 2)
    layer.set_lora(0, [a0, a1], [b0, b1])
    layer.set_lora(2, [a0, a1], [b0, b1])
    assert filled == {0, 2}
    layer.reset_lora(0)
    layer.reset_lora(1)
    assert filled == {2}
    assert layer.calls == [("set", 0), ("set", 2), ("reset", 0), ("reset", 1)]


@pytest.mark.parametrize(
    ("rows", "threads", "starts"),
    [(5, 2, [0, 3, 5]), (4, 2, [0, 2, 4]), (1, 4, [0, 1]), (7, 3, [0, 3, 6, 7])],
)
def test_rows_are_divided_into_no_more_pieces_than_threads(
    rows: int, threads: int, starts: list[int]
) -> None:
    members = _Members((Rows(slot=1, rows=tuple(range(10, 10 + rows))),), threads)
    assert members.starts.tolist() == starts
    assert members.rows.tolist() == list(range(10, 10 + rows))
    assert set(members.slots.tolist()) == {1}
