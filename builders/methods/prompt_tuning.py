"""Prompt tuning (Lester et al. 2021, arXiv:2104.08691): N trained embeddings before the sequence.

Invariant: what is trained is what is served: `servable/prompt.safetensors` holds `embeddings`
[virtual_tokens, hidden] float32, the numbers that PEFT concatenates before the sequence's own. What
stands in front of a sequence does not depend on it, so the engine gets the keys and values that the
base makes of them (`prefix.safetensors`, as for prefix tuning), and computes nothing twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from adapterworks.builders.methods.conversion import Conversion, Source
from adapterworks.builders.methods.factors import read_adapter
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.soft_prompts import (
    SoftPrompt,
    SoftPromptKeys,
    has_no_encoder,
    initial_tokens,
    leaves_room,
)
from adapterworks.builders.methods.technique import Default, Kept, ServableForm
from adapterworks.manifests.models import ServeTable
from adapterworks.registry.bases.causal_lm import load_causal_lm
from adapterworks.registry.releases.forms import PROMPT
from adapterworks.registry.releases.release import Servable

if TYPE_CHECKING:
    import torch
    from torch import nn


FILE = "prompt.safetensors"
CACHE_FILE = "prefix.safetensors"


class PromptTuningTable(SoftPromptKeys):
    """A soft prompt in the embedding layer (Lester et al. 2021)."""

    kind: Literal["prompt-tuning"]
    """The method."""


class PromptTuning(SoftPrompt[PromptTuningTable]):
    """Soft prompt in the embedding layer."""

    table = PromptTuningTable
    title = "Prompt tuning"
    source = "Lester et al. 2021, arXiv:2104.08691"
    form = PROMPT
    learning_rate = Default(3e-2, "PEFT's prompt-tuning guide (Adam); the paper has 0.3, Adafactor")
    checks = (leaves_room, has_no_encoder)

    def trainable(self, shape: BaseShape, table: PromptTuningTable) -> int:
        return table.virtual_tokens * shape.hidden

    def servable(
        self, shape: BaseShape, table: PromptTuningTable, serve: ServeTable
    ) -> ServableForm:
        return ServableForm(
            PROMPT, "exact", "prompt embeddings", virtual_tokens=table.virtual_tokens
        )

    def embedded_tokens(self, table: PromptTuningTable) -> int:
        return table.virtual_tokens

    def kept(self, shape: BaseShape, table: PromptTuningTable, width: int) -> Kept:
        """Nothing in a layer is trained; the prompt's positions are counted as tokens."""
        return Kept()

    def attach(self, model: nn.Module, table: PromptTuningTable, steps: int) -> nn.Module:
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
        chosen = initial_tokens(model, table)
        with torch.no_grad():
            soft = adapted.prompt_encoder["default"].embedding.weight
            # Not rows of the weight: Gemma's embedding multiplies them by √hidden.
            soft.copy_(model.get_input_embeddings()(chosen))
        return adapted

    def convert(self, source: Source, folder: Path) -> Conversion:
        """Write the soft prompt, and its keys and values by layer."""
        from safetensors.torch import save_file

        embeddings = read_adapter(source.adapter)[0]["prompt_embeddings"].float().contiguous()
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"embeddings": embeddings}, folder / FILE)
        save_file(_keys_and_values(source.served, embeddings), folder / CACHE_FILE)
        return Conversion(Servable(form=PROMPT, origin="exact", virtual_tokens=len(embeddings)))


def _keys_and_values(served: Path, embeddings: torch.Tensor) -> dict[str, torch.Tensor]:
    """`layers.{i}.key` and `layers.{i}.value`, [virtual_tokens, kv_heads, head_dim] float32."""
    import torch

    model = load_causal_lm(served, dtype=torch.float32).eval()
    with torch.inference_mode():
        cache = model(inputs_embeds=embeddings[None], use_cache=True).past_key_values
    return {
        f"layers.{index}.{name}": tensor[0].transpose(0, 1).contiguous()
        for index, layer in enumerate(cache.layers)
        for name, tensor in (("key", layer.keys), ("value", layer.values))
    }


PROMPT_TUNING = PromptTuning()
