"""Prompt tuning (Lester et al. 2021, arXiv:2104.08691): N trained embeddings before the sequence.

Invariant: what is trained is what is served: `servable/prompt.safetensors` holds the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.soft_prompts import initial_tokens, soft_prompt_lints
from adapterworks.builders.methods.technique import Default, Lint, ServableForm, Technique
from adapterworks.manifests.models import PromptMethod, ServeTable

if TYPE_CHECKING:
    from torch import nn


class PromptTuning(Technique[PromptMethod]):
    """Soft prompt in the embedding layer."""

    kind = "prompt-tuning"
    title = "Prompt tuning"
    source = "Lester et al. 2021, arXiv:2104.08691"
    form = "prompt"
    learning_rate = Default(3e-2, "PEFT's prompt-tuning guide (Adam); the paper has 0.3, Adafactor")
    soft_prompt = True

    def trainable(self, shape: BaseShape, table: PromptMethod) -> int:
        return table.virtual_tokens * shape.hidden

    def servable(self, shape: BaseShape, table: PromptMethod, serve: ServeTable) -> ServableForm:
        return ServableForm(
            "prompt", "exact", "prompt embeddings", virtual_tokens=table.virtual_tokens
        )

    def lints(self, shape: BaseShape, table: PromptMethod) -> list[Lint]:
        return soft_prompt_lints(table)

    def attach(self, model: nn.Module, table: PromptMethod, steps: int) -> nn.Module:
        """Starts from `init_text`'s embeddings, or from those of sampled vocabulary (§3.2)."""
        import torch
        from peft import PromptTuningConfig, get_peft_model

        adapted: nn.Module = get_peft_model(
            model,
            PromptTuningConfig(
                num_virtual_tokens=table.virtual_tokens,
                prompt_tuning_init="RANDOM",
                task_type="CAUSAL_LM",
            ),
        )
        embeddings = model.get_input_embeddings().weight
        chosen = initial_tokens(model, table)
        with torch.no_grad():
            soft = adapted.prompt_encoder["default"].embedding.weight
            soft.copy_(embeddings[chosen])
        return adapted
