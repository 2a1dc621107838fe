"""Prefix tuning (Li & Liang 2021, arXiv:2101.00190): keys and values in front of every layer.

Invariant: the trained numbers are, exactly, the KV cache of N virtual tokens. In
`prefix.safetensors`, `layers.{i}.key` and `layers.{i}.value` are [virtual_tokens, kv_heads,
head_dim] float32, the very numbers PEFT puts into `past_key_values` (rotary position is part of
them already).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adapterworks.builders.methods.conversion import Conversion, Source
from adapterworks.builders.methods.factors import read_adapter
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.soft_prompts import (
    SoftPrompt,
    SoftPromptKeys,
    has_no_encoder,
    initial_tokens,
    key_value_width,
    leaves_room,
)
from adapterworks.builders.methods.technique import Default, Kept, ServableForm
from adapterworks.manifests.models import ServeTable
from adapterworks.registry.releases.forms import PREFIX
from adapterworks.registry.releases.release import Servable

if TYPE_CHECKING:
    import torch
    from torch import nn


FILE = "prefix.safetensors"


class PrefixTuningTable(SoftPromptKeys):
    """Keys and values of virtual tokens in front of every layer (Li & Liang 2021)."""

    kind: Literal["prefix-tuning"]
    """The method."""


class PrefixTuning(SoftPrompt[SoftPromptKeys]):
    """Keys and values trained directly."""

    table: type[SoftPromptKeys] = PrefixTuningTable
    title = "Prefix tuning"
    source = "Li & Liang 2021, arXiv:2101.00190"
    form = PREFIX
    learning_rate = Default(1e-2, "PEFT's prefix-tuning guide (1e-2, without reparameterization)")
    checks = (leaves_room, has_no_encoder)
    # PEFT refuses gradient checkpointing here: the prefix enters as a cache.
    gradient_checkpointing = False

    def trainable(self, shape: BaseShape, table: SoftPromptKeys) -> int:
        return table.virtual_tokens * shape.layers * 2 * key_value_width(shape)

    def servable(self, shape: BaseShape, table: SoftPromptKeys, serve: ServeTable) -> ServableForm:
        return ServableForm(
            PREFIX, "exact", "keys and values as they are", virtual_tokens=table.virtual_tokens
        )

    def kept(self, shape: BaseShape, table: SoftPromptKeys, width: int) -> Kept:
        """The prefix joins every layer's keys and values, and is kept with its gradient."""
        numbers = 2 * key_value_width(shape) + 2 * shape.heads * shape.head_dim
        return Kept(prompt=table.virtual_tokens * shape.layers * numbers * width)

    def attach(self, model: nn.Module, table: SoftPromptKeys, steps: int) -> nn.Module:
        from peft import PrefixTuningConfig, get_peft_model

        adapted: nn.Module = get_peft_model(
            model,
            PrefixTuningConfig(num_virtual_tokens=table.virtual_tokens, task_type="CAUSAL_LM"),
        )
        start_from_tokens(adapted, initial_tokens(model, table))
        return adapted

    def convert(self, source: Source, folder: Path) -> Conversion:
        """Write keys and values by layer; PEFT has folded any reparameterization when it saved."""
        from safetensors.torch import save_file

        shape = source.shape
        flat = read_adapter(source.adapter)[0]["prompt_embeddings"].float()
        # PEFT's order: token, layer × (key, value), head, dimension.
        cache = flat.view(len(flat), 2 * shape.layers, shape.kv_heads, shape.head_dim)
        tensors = {}
        for layer in range(shape.layers):
            tensors[f"layers.{layer}.key"] = cache[:, 2 * layer].contiguous()
            tensors[f"layers.{layer}.value"] = cache[:, 2 * layer + 1].contiguous()
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / FILE)
        return Conversion(Servable(form=PREFIX, origin="exact", virtual_tokens=len(flat)))


def start_from_tokens(adapted: Any, ids: torch.Tensor) -> None:
    """Let the trained keys and values begin as those the base computes for real tokens.

    Random ones put a base of this size 7 nats above itself before the first step.

    Args:
        adapted: PEFT's prefix tuning model, without reparameterization.
        ids: [virtual_tokens].
    """
    import torch

    base = adapted.get_base_model()
    weight = adapted.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        cache = base(input_ids=ids[None], use_cache=True).past_key_values
        # PEFT's order: token, layer × (key, value), head, dimension.
        flat = [
            part[0].transpose(0, 1) for layer in cache.layers for part in (layer.keys, layer.values)
        ]
        weight.copy_(torch.stack(flat, dim=1).reshape(weight.shape))


PREFIX_TUNING = PrefixTuning()
