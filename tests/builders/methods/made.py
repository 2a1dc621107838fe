"""Adapters without a training: tensors written by hand, or every trained parameter drawn.

What conversion does to numbers does not depend on how they were found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.conversion import Conversion, Source
from adapterworks.builders.methods.linears import Linear
from adapterworks.builders.methods.shape import BaseShape, read_shape
from tests.builders.build_support import manifest_for

PREFIX = "base_model.model."
# Two layers, hidden 4, two heads of 2, one of them for keys: small enough to work out by hand.
SMALL = BaseShape(
    layers=2,
    hidden=4,
    intermediate=6,
    heads=2,
    kv_heads=1,
    head_dim=2,
    vocab=10,
    max_positions=64,
    linears=tuple(
        Linear(f"model.layers.{layer}.{name}", out, into)
        for layer in range(2)
        for name, out, into in (
            ("self_attn.q_proj", 4, 4),
            ("self_attn.k_proj", 2, 4),
            ("mlp.down_proj", 4, 6),
        )
    ),
    other=50,
)


def manifest_of(kind: str, *, serve: Mapping[str, Any] | None = None, **method: Any) -> Any:
    """A manifest with this method; `serve` goes into `[serve]`."""
    manifest = manifest_for(kind, method=method)
    if serve:
        changed = manifest.serve.model_copy(update=dict(serve))
        manifest = manifest.model_copy(update={"serve": changed})
    return manifest


def write_adapter(
    folder: Path, tensors: Mapping[str, torch.Tensor], configuration: Mapping[str, Any]
) -> Path:
    """An adapter folder as PEFT writes it: names behind its prefix."""
    folder.mkdir(parents=True)
    named = {f"{PREFIX}{name}": tensor.contiguous() for name, tensor in tensors.items()}
    save_file(named, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(configuration))
    return folder


def convert(source: Source, folder: Path) -> Conversion:
    """By the manifest's own method."""
    return METHODS[source.manifest.method.kind].convert(source, folder)


def products(folder: Path) -> dict[str, torch.Tensor]:
    """ΔW by module, float64, of a written LoRA folder whose scale is α/r."""
    configuration = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    scale = configuration["lora_alpha"] / configuration["r"]
    assert not configuration["use_rslora"]
    assert not configuration["use_dora"]
    found = {}
    for name, a in tensors.items():
        if name.endswith(".lora_A.weight"):
            module = name.removeprefix(PREFIX).removesuffix(".lora_A.weight")
            b = tensors[f"{PREFIX}{module}.lora_B.weight"]
            found[module] = scale * (b.double() @ a.double())
    return found


@dataclass
class Drawn:
    """An adapter of a method on the tiny base whose trained parameters were drawn."""

    model: Any
    source: Source

    def answers(self, ids: list[int]) -> torch.Tensor:
        """What the method's own model answers: log-probabilities [length, vocabulary]."""
        with torch.inference_mode():
            mask = torch.ones(1, len(ids))
            logits = self.model(input_ids=torch.tensor([ids]), attention_mask=mask).logits
        return torch.log_softmax(logits[0, -len(ids) :], dim=-1)


def draw(
    kind: str,
    base: Path,
    folder: Path,
    *,
    spread: float = 0.1,
    serve: Mapping[str, Any] | None = None,
    **method: Any,
) -> Drawn:
    """Attach a method, move every trained parameter by `spread`, and write it as training does."""
    from transformers import AutoModelForCausalLM

    manifest = manifest_of(kind, serve=serve, **method)
    technique = METHODS[kind]
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = technique.attach(model, manifest.method, steps=20)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += spread * torch.randn(parameter.shape, generator=generator)
    model.eval()
    technique.before_save(model)
    technique.save(model, folder / "adapter", "base")
    return Drawn(model, Source(folder / "adapter", base, read_shape(base), manifest))
