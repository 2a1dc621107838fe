"""Prefix tuning (Li & Liang 2021, arXiv:2101.00190): keys and values in front of every layer.

Invariant: the trained numbers are, exactly, the KV cache of N virtual tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.soft_prompts import (
    initial_tokens,
    key_value_width,
    soft_prompt_lints,
)
from adapterworks.builders.methods.technique import Default, Lint, ServableForm, Technique
from adapterworks.manifests.models import PromptMethod, ServeTable

if TYPE_CHECKING:
    import torch
    from torch import nn


class PrefixTuning(Technique[PromptMethod]):
    """Keys and values trained directly."""

    kind = "prefix-tuning"
    title = "Prefix tuning"
    source = "Li & Liang 2021, arXiv:2101.00190"
    form = "prefix"
    learning_rate = Default(1e-2, "PEFT's prefix-tuning guide (1e-2, without reparameterization)")
    soft_prompt = True
    # PEFT refuses gradient checkpointing here: the prefix enters as a cache.
    gradient_checkpointing = False

    def trainable(self, shape: BaseShape, table: PromptMethod) -> int:
        return table.virtual_tokens * shape.layers * 2 * key_value_width(shape)

    def servable(self, shape: BaseShape, table: PromptMethod, serve: ServeTable) -> ServableForm:
        return ServableForm(
            "prefix", "exact", "keys and values as they are", virtual_tokens=table.virtual_tokens
        )

    def lints(self, shape: BaseShape, table: PromptMethod) -> list[Lint]:
        return soft_prompt_lints(table)

    def attach(self, model: nn.Module, table: PromptMethod, steps: int) -> nn.Module:
        from peft import PrefixTuningConfig, get_peft_model

        adapted: nn.Module = get_peft_model(
            model,
            PrefixTuningConfig(num_virtual_tokens=table.virtual_tokens, task_type="CAUSAL_LM"),
        )
        start_from_tokens(adapted, initial_tokens(model, table))
        return adapted


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
