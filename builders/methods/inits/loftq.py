"""LoftQ (Li et al. 2023, arXiv:2310.08659), one iteration: B·A starts as the best approximation of
what quantization took away, W − Q(W), so that a quantized base begins nearer to the whole one.

Q(W) is the base's own NF4 values, those it is served with, and stays as it is (PEFT's
`replace_lora_weights_loftq`); so the adapter is a plain LoRA on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapterworks.builders.methods.factors import cut
from adapterworks.builders.methods.inits.init import Init
from adapterworks.registry.bases.complete import names_in_model, weight_files

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Loftq(Init):
    """Reads the weights once more, one matrix at a time."""

    def attached(self, model: nn.Module) -> None:
        import torch
        from bitsandbytes.functional import dequantize_4bit
        from peft.tuners.lora import LoraLayer

        whole: Any = model
        originals = _Stored(Path(whole.get_base_model().config._name_or_path))
        for name, module in whole.get_base_model().named_modules():
            if not isinstance(module, LoraLayer):
                continue
            stored = module.get_base_layer().weight
            held = dequantize_4bit(stored.data, stored.quant_state).float()
            lost = originals.read(f"{name}.weight").to(held.device).float() - held
            a, b = module.lora_A["default"].weight, module.lora_B["default"].weight
            factors = cut(lost, len(a))
            with torch.no_grad():
                a.copy_(factors.a)
                b.copy_(factors.b / module.scaling["default"])


class _Stored:
    """The tensors of a checkpoint by the model's names, each read when it is asked for."""

    def __init__(self, checkpoint: Path) -> None:
        from safetensors import safe_open

        files: list[Any] = [safe_open(p, framework="pt") for p in weight_files(checkpoint)]
        where = {name: f for f in files for name in f.keys()}  # noqa: SIM118
        names = names_in_model(checkpoint, where)
        self._where = {names[name]: (f, name) for name, f in where.items()}

    def read(self, name: str) -> torch.Tensor:
        file, stored = self._where[name]
        tensor: torch.Tensor = file.get_tensor(stored)
        return tensor


LOFTQ = Loftq("loftq", "What quantization took away", "Li et al. 2023, arXiv:2310.08659")
