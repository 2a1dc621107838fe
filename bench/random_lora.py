"""Random LoRA adapters in PEFT's format, for measuring speed: it does not depend on the weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapterworks.registry.bases.base import Base
    from adapterworks.registry.registry import Registry
    from adapterworks.registry.releases.release import Servable
    from adapterworks.registry.releases.types import Published


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


def make_releases(base: Base, folder: Path, count: int, rank: int) -> list[Path]:
    """Folders to publish: random adapters on a real base, with fingerprints as a build takes them.

    The probes are `medical`'s first validation rows and the builders' own prose.
    """
    from transformers import AutoTokenizer

    from adapterworks.builders.data.load import load_rows
    from adapterworks.builders.data.render import encode_rows
    from adapterworks.builders.evaluation.fingerprint import make_fingerprint
    from adapterworks.builders.evaluation.served_model import ServedModel
    from adapterworks.manifests.load import load_manifest

    limits = ("data.limit=8", "data.limit_validation=8", "data.limit_test=8")
    rows = load_rows(load_manifest("medical", overrides=limits), cache=folder / "cache").validation
    tokenizer = AutoTokenizer.from_pretrained(base.served)
    encoded = encode_rows(tokenizer, rows, 256)
    made = []
    for adapter in make_adapters(base.served, folder / "adapters", count, rank):
        release = folder / f"release-{adapter.name}"
        release.mkdir()
        servable = adapter.rename(release / "servable")
        fingerprint = make_fingerprint(
            ServedModel(base.served, servable, _servable(rank)),
            tokenizer,
            encoded,
            base_digest=base.digest,
            template_digest=base.template_digest,
        )
        (release / "fingerprint.json").write_text(json.dumps(fingerprint), encoding="utf-8")
        made.append(release)
    return made


def publish(registry: Registry, release: Path, base: Base, name: str, number: int) -> Published:
    """Publish such a folder; another `number` makes another release of the same files."""
    from adapterworks.registry.releases.release import Draft

    rank = json.loads((release / "servable" / "adapter_config.json").read_text())["r"]
    draft = Draft(
        name=name,
        description=f"random weights, release {number}",
        method="lora",
        created="2026-01-01T00:00:00Z",
        created_by="bench",
        base=base.identity,
        servable=_servable(rank),
    )
    return registry.publish(release, draft, who="bench")


def _servable(rank: int) -> Servable:
    from adapterworks.registry.releases.release import Servable

    return Servable(form="lora", origin="native", rank=rank)
