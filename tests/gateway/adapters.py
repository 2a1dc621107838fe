"""Real adapters for gateway tests: LoRA with seeded weights on the real base, with fingerprints.

The weights are random rather than trained: what the gateway must keep apart and prove is that each
adapter does what it did when its fingerprint was taken, which random directions test as well.

torch, PEFT and transformers are imported when the first adapter is made: tests of policy need none,
and start in a second.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Servable
from adapterworks.registry.releases.types import Published

PROBES = (
    "Give the ICD-10-CM category for: amebic balanitis",
    "Which service owns this: creates a bucket with the given name?",
    "The capital of France is",
    "Rewrite the function so that it returns early.",
    "Water boils at a temperature of",
    "List three fruits.",
    "What is the sum of two and two?",
    "Once upon a time there was a",
)


@dataclass(frozen=True)
class Made:
    """One adapter in a folder: `adapter_model.safetensors`, `adapter_config.json`, fingerprint."""

    folder: Path
    rank: int


@lru_cache(maxsize=1)
def _model(checkpoint: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)  # the engine of the session runs beside us
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(checkpoint)


def make_lora(folder: Path, base: Base, *, seed: int, rank: int = 8, scale: float = 0.02) -> Made:
    """A LoRA over all linear layers with seeded, non-zero weights, and its fingerprint."""
    import torch
    from peft import LoraConfig, get_peft_model

    model, tokenizer = _model(base.served)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    peft_model = get_peft_model(model, config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(peft_model.named_parameters()):
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
            elif "lora_A" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    peft_model.eval()
    (folder / "servable").mkdir(parents=True)
    peft_model.save_pretrained(folder / "servable")
    (folder / "servable" / "README.md").unlink()
    probes = [_probe(peft_model, tokenizer, text) for text in PROBES]
    document = {
        "schema_version": 1,
        "base_digest": base.digest,
        "template_digest": base.template_digest,
        "probes": probes,
    }
    (folder / "fingerprint.json").write_text(json.dumps(document))
    peft_model.unload()
    return Made(folder, rank)


def _probe(model: Any, tokenizer: Any, text: str) -> dict[str, Any]:
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    positions = [len(ids) // 2, len(ids) - 1]
    with model.disable_adapter():
        base = _top(model, ids, positions)
    return {
        "kind": "general",
        "token_ids": ids,
        "positions": positions,
        "adapter": _top(model, ids, positions),
        "base": base,
    }


def _top(model: Any, ids: list[int], positions: list[int]) -> list[list[list[float]]]:
    import torch

    with torch.no_grad():
        logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    tops = [logprobs[position - 1].topk(20) for position in positions]
    return [
        [[int(i), float(v)] for i, v in zip(top.indices, top.values, strict=True)] for top in tops
    ]


def publish(
    registry: Registry,
    made: Made,
    base: Base,
    name: str,
    *,
    alias: str | None = "prod",
    **changes: Any,
) -> Published:
    """Publish a made adapter under a name."""
    draft = registry_draft(name, base, made.rank, **changes)
    return registry.publish(made.folder, draft, alias=alias, who="tester")


def registry_draft(name: str, base: Base, rank: int, **changes: Any) -> Any:
    """The draft of a LoRA release."""
    from adapterworks.registry.releases.release import Draft

    values: dict[str, Any] = {
        "name": name,
        "method": "lora",
        "created": "2026-01-01T00:00:00Z",
        "created_by": "tester",
        "base": base.identity,
        "servable": Servable(form="lora", origin="native", rank=rank),
        **changes,
    }
    return Draft(**values)


def copy_of(made: Made, folder: Path) -> Made:
    """A copy to be damaged."""
    shutil.copytree(made.folder, folder)
    return Made(folder, made.rank)
