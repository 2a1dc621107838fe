"""Multi-LoRA on CPU by groups of rows instead of a copy of the weights for every row.

Invariant: the same numbers as the stock path up to the order of float additions, except that rows
of the base stay the base's (vLLM #48421). Operations other than plain linear layers are stock:
embeddings are left out when no adapter of the batch touches them; logits are products of the rows
of those that do, where stock copies an adapter's whole vocabulary for every row; experts and
sharded ranks are untouched.

Making the wrapper, as vLLM does where it makes its LoRA layers, also mends the scores of prompts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from vllm.lora.layers.base import BaseLayerWithLoRA
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

from adapterworks.gateway.engine_plugin import few_rows, prompt_scores
from adapterworks.gateway.engine_plugin.grouping import group_rows
from adapterworks.gateway.engine_plugin.products import Batch, Product
from adapterworks.gateway.engine_plugin.weights import LayerWeights, adopt, follow


@contextmanager
def _as_before(y: torch.Tensor, slots: torch.Tensor) -> Iterator[None]:
    """The base's rows keep what they have: stock gives them the last slot's adapter (#48421)."""
    base = (slots < 0).nonzero().squeeze(1)
    kept = y[base]
    yield
    y[base] = kept


class GroupedPunicaWrapper(PunicaWrapperCPU):
    """vLLM's CPU wrapper with `add_lora_linear` replaced."""

    def __init__(
        self,
        max_num_batched_tokens: int,
        max_batches: int,
        device: torch.device | str,
        **kwargs: Any,
    ) -> None:
        super().__init__(max_num_batched_tokens, max_batches, device, **kwargs)
        prompt_scores.install()
        # By identity of the tuple that the layer hands over with each call; the value keeps that
        # tuple alive, so that an identity is never reused.
        self._layers: dict[int, tuple[LayerWeights, tuple[torch.Tensor, ...]]] = {}
        # Embedding and logits layers: by identity of their B, which the value keeps alive.
        self._filled: dict[int, tuple[set[int], torch.Tensor]] = {}
        self._slots: frozenset[int] = frozenset()
        self._batch: Batch | None = None
        # What each layer must do for the batch, made at its first use; by the same identity.
        self._products: dict[int, list[Product]] = {}

    def adopt(self, layer: BaseLayerWithLoRA) -> None:
        """Take over a layer's weights; layers of other kinds keep the stock path."""
        weights = adopt(layer, self._products.clear)
        if weights is not None:
            if weights.a.dtype in few_rows.LIKE:
                few_rows.compile_for(weights.a.dtype)
            self._layers[id(layer.lora_a_stacked)] = (weights, layer.lora_a_stacked)
        elif isinstance(getattr(layer, "lora_b_stacked", None), torch.Tensor):
            self._filled[id(layer.lora_b_stacked)] = (follow(layer), layer.lora_b_stacked)

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        """vLLM calls this when the rows' adapters or the slots' adapters changed."""
        super().update_metadata(*args, **kwargs)
        slots = self.token_lora_indices.tolist()
        self._slots = frozenset(slots) - {-1}
        groups = group_rows(slots)
        self._batch = None if groups.empty else Batch(groups, self.device)
        self._products.clear()

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        lora_b_stacked: tuple[torch.Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        *,
        buffer: tuple[torch.Tensor, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        """`y += x·A·B` by groups, in place; x [rows, in], y [rows, out]."""
        if self._batch is None:
            return
        products = self._products.get(id(lora_a_stacked))
        if products is None:
            known = self._layers.get(id(lora_a_stacked))
            if known is not None and known[0].a.dtype == x.dtype == y.dtype:
                products = list(self._batch.products(known[0]))
                self._products[id(lora_a_stacked)] = products
        plain = x.is_contiguous() and y.is_contiguous() and scale == 1.0 and not kwargs
        if products is None or not plain:
            with _as_before(y, self.token_lora_indices):
                super().add_lora_linear(
                    y, x, lora_a_stacked, lora_b_stacked, scale, output_slices, buffer=buffer,
                    **kwargs,
                )  # fmt: skip
            return
        for product in products:
            product(x, y)

    def _touched(self, stacked: torch.Tensor) -> bool:
        known = self._filled.get(id(stacked))
        return known is None or not known[0].isdisjoint(self._slots)

    def add_lora_embedding(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_b_stacked: torch.Tensor,
        add_inputs: bool = True,
        **kwargs: Any,
    ) -> None:
        """Stock, if an adapter of the batch touches the embedding; base rows stay as they are."""
        if self._touched(lora_b_stacked):
            with _as_before(y, self.token_lora_indices):
                super().add_lora_embedding(y, x, lora_b_stacked, add_inputs, **kwargs)

    def add_lora_logits(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: torch.Tensor,
        lora_b_stacked: torch.Tensor,
        scale: float,
        **kwargs: Any,
    ) -> None:
        """`y += x·A·B` by adapters that touch the logits; base rows stay as they are."""
        filled = self._filled.get(id(lora_b_stacked))
        if filled is None:
            with _as_before(y, self.sampler_indices):
                super().add_lora_logits(y, x, lora_a_stacked, lora_b_stacked, scale, **kwargs)
            return
        for slot in sorted(filled[0] & self._slots):
            rows = (self.sampler_indices == slot).nonzero().squeeze(1)
            h = x[rows].float() @ lora_a_stacked[slot, 0].float().t()
            delta = h @ lora_b_stacked[slot, 0].float().t()
            width = min(delta.shape[1], y.shape[1])  # either may be padded
            y[rows, :width] += (scale * delta[:, :width]).to(y.dtype)
