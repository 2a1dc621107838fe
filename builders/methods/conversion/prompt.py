"""Prompt tuning: `prompt.safetensors` with `embeddings` [virtual_tokens, hidden], float32.

Invariant: the numbers are those PEFT concatenates before the sequence's own embeddings. What stands
in front of a sequence does not depend on it, so the engine gets the keys and values that the base
makes of them (`prefix.safetensors`, as for prefix tuning), and computes nothing twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.builders.methods.conversion.conversion import Conversion, Source
from adapterworks.builders.methods.conversion.factors import read_adapter
from adapterworks.registry.releases.release import Servable

if TYPE_CHECKING:
    import torch

FILE = "prompt.safetensors"
CACHE_FILE = "prefix.safetensors"


def convert_prompt(source: Source, folder: Path) -> Conversion:
    """Write the soft prompt, and its keys and values by layer."""
    from safetensors.torch import save_file

    embeddings = read_adapter(source.adapter)[0]["prompt_embeddings"].float().contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"embeddings": embeddings}, folder / FILE)
    save_file(_keys_and_values(source.served, embeddings), folder / CACHE_FILE)
    return Conversion(Servable(form="prompt", origin="exact", virtual_tokens=len(embeddings)))


def _keys_and_values(served: Path, embeddings: torch.Tensor) -> dict[str, torch.Tensor]:
    """`layers.{i}.key` and `layers.{i}.value`, [virtual_tokens, kv_heads, head_dim] float32."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(served, dtype=torch.float32).eval()
    with torch.inference_mode():
        cache = model(inputs_embeds=embeddings[None], use_cache=True).past_key_values
    return {
        f"layers.{index}.{name}": tensor[0].transpose(0, 1).contiguous()
        for index, layer in enumerate(cache.layers)
        for name, tensor in (("key", layer.keys), ("value", layer.values))
    }
