"""Prefix tuning and P-tuning v2: `prefix.safetensors`, the KV cache of N virtual tokens.

Invariant: `layers.{i}.key` and `layers.{i}.value` are [virtual_tokens, kv_heads, head_dim] float32,
the very numbers PEFT puts into `past_key_values` (rotary position is part of them already). PEFT
folds P-tuning v2's reparameterization when it saves.
"""

from __future__ import annotations

from pathlib import Path

from adapterworks.builders.methods.conversion.conversion import Conversion, Source
from adapterworks.builders.methods.conversion.factors import read_adapter
from adapterworks.registry.releases.release import Servable

FILE = "prefix.safetensors"


def convert_prefix(source: Source, folder: Path) -> Conversion:
    """Write keys and values by layer."""
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
    return Conversion(Servable(form="prefix", origin="exact", virtual_tokens=len(flat)))
