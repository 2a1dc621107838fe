"""One layer's adapter weights, laid out for matrix products.

Invariant: vLLM's own `lora_a_stacked` and `lora_b_stacked` are views of these tensors, so what its
loading code writes is what is multiplied; `ranks[slot]` is 0 exactly when the slot's adapter does
not touch the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch


def _tensors(value: torch.Tensor | Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
    return [value] if isinstance(value, torch.Tensor) else list(value)


class LayerWeights:
    """The adapters of one linear layer; q/k/v and gate/up are slices of one layer.

    Attributes:
        a: [slots, rank, slices, in]: one product gives the ranks of all slices, and the rows below
            a rank are consecutive, so that ranks above an adapter's own are not computed.
        b: [slots, rank, out], i.e. already transposed, the slices' columns side by side.
        offsets: first output column of each slice, then the end; int64 [slices + 1].
        ranks: per slot the rank in use, 0 where the adapter does not touch the layer; int64.
        used: per slot which slices the adapter touches; bool [slots, slices].
    """

    def __init__(
        self,
        a_stacked: tuple[torch.Tensor, ...],
        b_stacked: tuple[torch.Tensor, ...],
        output_slices: tuple[int, ...],
    ) -> None:
        """Take over vLLM's tensors ([slots, 1, rank, in] and [slots, 1, out_i, rank])."""
        self.a = torch.stack([t[:, 0] for t in a_stacked], dim=2).contiguous()
        self.b = torch.cat([t[:, 0].transpose(1, 2) for t in b_stacked], dim=2).contiguous()
        self.offsets = np.cumsum((0, *output_slices))
        slots = self.a.shape[0]
        self.ranks = np.zeros(slots, np.int64)
        self.used = np.zeros((slots, len(output_slices)), np.bool_)

    @property
    def slices(self) -> list[slice]:
        """The output columns of each slice."""
        return [slice(*pair) for pair in pairwise(self.offsets.tolist())]

    @property
    def a_views(self) -> tuple[torch.Tensor, ...]:
        """What vLLM calls `lora_a_stacked`."""
        return tuple(self.a[:, :, i].unsqueeze(1) for i in range(self.a.shape[2]))

    @property
    def b_views(self) -> tuple[torch.Tensor, ...]:
        """What vLLM calls `lora_b_stacked`."""
        return tuple(self.b[:, :, s].transpose(1, 2).unsqueeze(1) for s in self.slices)

    def forget(self, slot: int) -> None:
        """The slot holds no adapter any more (its weights are zero)."""
        self.ranks[slot], self.used[slot] = 0, False

    def note(self, slot: int, lora_a: Any, lora_b: Any) -> None:
        """The slot was filled with these matrices ([rank, in] and [out, rank], or one a slice)."""
        present = [t is not None for t in _tensors(lora_b)]
        # One matrix for the whole layer, or as many as slices; anything else touches all of them.
        self.used[slot] = present if len(present) == self.used.shape[1] else True
        self.ranks[slot] = max((t.shape[0] for t in _tensors(lora_a) if t is not None), default=0)


def adopt(layer: Any, changed: Callable[[], None]) -> LayerWeights | None:
    """Lay a vLLM LoRA layer's weights out anew, and follow what is loaded into them.

    Args:
        layer: any of vLLM's LoRA layers.
        changed: called after a slot was filled or emptied.

    Returns:
        The weights, or None where the layer is not a plain linear one (embedding, logits, experts)
        or shards ranks over devices.
    """
    a, b = getattr(layer, "lora_a_stacked", None), getattr(layer, "lora_b_stacked", None)
    if not (isinstance(a, tuple) and isinstance(b, tuple) and a and len(a) == len(b)):
        return None
    ranks = {t.shape[2] for t in a} | {t.shape[3] for t in b}
    alike = all(t.dim() == 4 and t.shape == a[0].shape for t in a)
    if not alike or len(ranks) != 1 or len(layer.output_slices) != len(a):
        return None
    weights = LayerWeights(a, b, tuple(layer.output_slices))
    layer.lora_a_stacked, layer.lora_b_stacked = weights.a_views, weights.b_views
    set_lora: Callable[..., None] = layer.set_lora
    reset_lora: Callable[[int], None] = layer.reset_lora

    def reset_and_forget(index: int) -> None:
        reset_lora(index)
        weights.forget(index)
        changed()

    def set_and_note(index: int, lora_a: Any, lora_b: Any) -> None:
        set_lora(index, lora_a, lora_b)
        weights.note(index, lora_a, lora_b)
        changed()

    layer.reset_lora, layer.set_lora = reset_and_forget, set_and_note
    return weights


def follow(layer: Any) -> set[int]:
    """The slots whose adapter touches this layer (embedding or logits), kept up to date."""
    filled: set[int] = set()
    set_lora: Callable[..., None] = layer.set_lora
    reset_lora: Callable[[int], None] = layer.reset_lora

    def reset_and_forget(index: int) -> None:
        reset_lora(index)
        filled.discard(index)

    def set_and_note(index: int, lora_a: Any, lora_b: Any) -> None:
        set_lora(index, lora_a, lora_b)
        filled.add(index)

    layer.reset_lora, layer.set_lora = reset_and_forget, set_and_note
    return filled
