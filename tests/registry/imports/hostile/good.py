"""A tiny base and a good adapter for it, written with numpy: what every hostile case spoils."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

HIDDEN, KV, INNER, VOCAB, LAYERS, RANK = 16, 8, 32, 64, 2, 4
SHAPES = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (KV, HIDDEN),
    "self_attn.v_proj": (KV, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
TARGETS = ("q_proj", "v_proj")
CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "tiny/base",
    "r": RANK,
    "lora_alpha": 2 * RANK,
    "lora_dropout": 0.05,
    "target_modules": list(TARGETS),
    "bias": "none",
    "modules_to_save": None,
    "inference_mode": True,
}


def write_base(folder: Path) -> Path:
    """A checkpoint of a two-layer Llama with random weights (no tokenizer)."""
    folder.mkdir(parents=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_hidden_layers": LAYERS,
        "vocab_size": VOCAB,
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config))
    random = np.random.default_rng(0)
    tensors = {
        "model.embed_tokens.weight": random.normal(size=(VOCAB, HIDDEN)),
        "lm_head.weight": random.normal(size=(VOCAB, HIDDEN)),
        "model.norm.weight": np.ones(HIDDEN),
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        tensors[f"{prefix}.input_layernorm.weight"] = np.ones(HIDDEN)
        tensors[f"{prefix}.post_attention_layernorm.weight"] = np.ones(HIDDEN)
        for module, shape in SHAPES.items():
            tensors[f"{prefix}.{module}.weight"] = random.normal(size=shape)
    save_file({k: v.astype(np.float32) for k, v in tensors.items()}, folder / "model.safetensors")
    return folder


def good_tensors(
    targets: tuple[str, ...] = TARGETS, *, rank: int = RANK, prefix: str = "base_model.model."
) -> dict[str, np.ndarray]:
    """LoRA tensors as PEFT names them, random and not zero."""
    random = np.random.default_rng(1)
    tensors = {}
    for layer in range(LAYERS):
        for module, (out, size) in SHAPES.items():
            if module.rpartition(".")[2] in targets:
                path = f"{prefix}model.layers.{layer}.{module}"
                tensors[f"{path}.lora_A.weight"] = random.normal(size=(rank, size))
                tensors[f"{path}.lora_B.weight"] = random.normal(size=(out, rank))
    return {name: value.astype(np.float32) for name, value in tensors.items()}


def write_adapter(
    folder: Path,
    *,
    tensors: Mapping[str, np.ndarray] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """A PEFT folder; `config` overrides keys of `CONFIG`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **(config or {})}))
    save_file(
        dict(good_tensors() if tensors is None else tensors),
        folder / "adapter_model.safetensors",
        metadata={"format": "pt"},
    )
    return folder
