"""Random LoRA adapters in PEFT's format, for measuring speed: it does not depend on the weights."""

from __future__ import annotations

import json
from pathlib import Path


def make_adapters(model: Path, folder: Path, count: int, rank: int) -> list[Path]:
    """Random LoRA adapters on all linear layers of a Llama-like model, in PEFT's format."""
    import torch
    from safetensors.torch import save_file

    config = json.loads((model / "config.json").read_text())
    hidden, inter = config["hidden_size"], config["intermediate_size"]
    kv = config["num_key_value_heads"] * config["head_dim"]
    shapes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (hidden, kv),
        "self_attn.v_proj": (hidden, kv),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (hidden, inter),
        "mlp.up_proj": (hidden, inter),
        "mlp.down_proj": (inter, hidden),
    }
    folders = []
    for k in range(count):
        draw = torch.Generator().manual_seed(k)
        tensors = {}
        for layer in range(config["num_hidden_layers"]):
            for module, (inputs, outputs) in shapes.items():
                name = f"base_model.model.model.layers.{layer}.{module}"
                a = torch.randn(rank, inputs, generator=draw) / inputs**0.5
                tensors[f"{name}.lora_A.weight"] = a
                tensors[f"{name}.lora_B.weight"] = torch.randn(outputs, rank, generator=draw) * 0.02
        target = folder / f"a{k}"
        target.mkdir(parents=True)
        save_file(tensors, target / "adapter_model.safetensors")
        record = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "r": rank,
            "lora_alpha": 2 * rank,
            "target_modules": [module.split(".")[1] for module in shapes],
        }
        (target / "adapter_config.json").write_text(json.dumps(record))
        folders.append(target)
    return folders
