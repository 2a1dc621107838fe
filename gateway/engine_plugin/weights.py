"""One layer's adapter weights, laid out for matrix products.

Invariant: vLLM's own `lora_a_stacked` and `lora_b_stacked` are views of these tensors, so what its
loading code writes is what is multiplied; `ranks[slot]` is 0 exactly when the slot's adapter does
not touch the layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch


def _tensors(value: torch.Tensor | Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
    return [value] if isinstance(value, torch.Tensor) else list(value)


@dataclass(frozen=True, slots=True)
class Stack:
    """Some slots' weights for batched products.

    Attributes:
        a: [slots, rank·slices, in].
        b: for each slice [slots, rank, out_i].
        joint: all slices at once, [slots·slices, rank, out]; None where their sizes differ.
    """

    a: torch.Tensor
    b: tuple[torch.Tensor, ...]
    joint: torch.Tensor | None


class LayerWeights:
    """The adapters of one linear layer; q/k/v and gate/up are slices of one layer.

    Attributes:
        a: [slots, rank, slices, in]: one product gives the ranks of all slices, and the rows below
            a rank are consecutive, so that ranks above an adapter's own are not computed.
        b: for each slice [slots, rank, out_i], i.e. already transposed.
        joint: where the slices are equally wide, what `b` are views of: [slots, slices, rank, out].
        offsets: first output column of each slice.
        ranks: per slot the rank in use, 0 where the adapter does not touch the layer.
        used: per slot which slices the adapter touches.
        version: grows whenever any slot changes.
    """

    def __init__(
        self,
        a_stacked: tuple[torch.Tensor, ...],
        b_stacked: tuple[torch.Tensor, ...],
        output_slices: tuple[int, ...],
    ) -> None:
        """Take over vLLM's tensors ([slots, 1, rank, in] and [slots, 1, out_i, rank])."""
        self.a = torch.stack([t[:, 0] for t in a_stacked], dim=2).contiguous()
        b = [t[:, 0].transpose(1, 2) for t in b_stacked]
        self.joint = torch.stack(b, dim=1).contiguous() if len(set(output_slices)) == 1 else None
        if self.joint is not None:
            self.b = self.joint.unbind(1)
        else:
            self.b = tuple(t.contiguous() for t in b)
        self.sizes = output_slices
        self.offsets = tuple(sum(output_slices[:i]) for i in range(len(output_slices)))
        slots = self.a.shape[0]
        self.ranks = [0] * slots
        self.used: list[tuple[int, ...]] = [()] * slots
        self.version = 0
        self._copied: tuple[object, Stack] | None = None

    @property
    def a_views(self) -> tuple[torch.Tensor, ...]:
        """What vLLM calls `lora_a_stacked`."""
        return tuple(self.a[:, :, i].unsqueeze(1) for i in range(len(self.b)))

    @property
    def b_views(self) -> tuple[torch.Tensor, ...]:
        """What vLLM calls `lora_b_stacked`."""
        return tuple(b.transpose(1, 2).unsqueeze(1) for b in self.b)

    def forget(self, slot: int) -> None:
        """The slot holds no adapter any more (its weights are zero)."""
        self.ranks[slot], self.used[slot] = 0, ()
        self.version += 1

    def note(self, slot: int, lora_a: Any, lora_b: Any) -> None:
        """The slot was filled with these matrices ([rank, in] and [out, rank], or one a slice)."""
        present = [t is not None for t in _tensors(lora_b)]
        # One matrix for the whole layer, or as many as slices; anything else touches all of them.
        whole = len(present) != len(self.b)
        self.used[slot] = tuple(i for i in range(len(self.b)) if whole or present[i])
        self.ranks[slot] = max((t.shape[0] for t in _tensors(lora_a) if t is not None), default=0)
        self.version += 1

    def stacked(self, slots: tuple[int, ...], rank: int) -> Stack:
        """The slots' weights for batched products.

        Neighbouring slots are views. Others are copied, and kept until others are asked for.
        """
        first, count = slots[0], len(slots)
        if slots == tuple(range(first, first + count)):
            return self._stack(lambda t: t[first : first + count], rank)
        key = (slots, rank, self.version)
        if self._copied is None or self._copied[0] != key:
            index = torch.tensor(slots, device=self.a.device)
            self._copied = (key, self._stack(lambda t: t.index_select(0, index), rank))
        return self._copied[1]

    def _stack(self, pick: Callable[[torch.Tensor], torch.Tensor], rank: int) -> Stack:
        a = pick(self.a[:, :rank]).flatten(1, 2)
        if self.joint is None:
            return Stack(a, tuple(pick(b[:, :rank]) for b in self.b), None)
        joint = pick(self.joint[:, :, :rank])
        return Stack(a, joint.unbind(1), joint.flatten(0, 1))


def adopt(layer: Any) -> LayerWeights | None:
    """Lay a vLLM LoRA layer's weights out anew, and follow what is loaded into them.

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

    def set_and_note(index: int, lora_a: Any, lora_b: Any) -> None:
        set_lora(index, lora_a, lora_b)
        weights.note(index, lora_a, lora_b)

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
