"""DoRA → LoRA: the merged delta m·V/‖V‖ − W, V = W + s·B·A, cut at a rank by SVD.

Invariant: norms are taken per output row of the base's served values, as PEFT takes them in the
forward pass.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.builders.methods.conversion.conversion import Conversion, Source
from adapterworks.builders.methods.conversion.factors import (
    Factors,
    cut,
    leaves,
    read_adapter,
    read_weights,
    relative_error,
    write_lora,
)
from adapterworks.builders.methods.dora import dora_rank
from adapterworks.manifests.models import LoraMethod
from adapterworks.registry.releases.release import Servable

if TYPE_CHECKING:
    import torch


def convert_dora(source: Source, folder: Path) -> Conversion:
    """Merge, subtract the base, cut."""
    import torch

    method = source.manifest.method
    assert isinstance(method, LoraMethod)
    tensors, configuration = read_adapter(source.adapter)
    weights = read_weights(source.served)
    alpha = float(str(configuration["lora_alpha"]))
    scale = alpha / method.rank**0.5 if method.rslora else alpha / method.rank
    rank = source.manifest.serve.conversion_rank or dora_rank(method.rank)
    factors: dict[str, Factors] = {}
    errors: dict[str, float] = {}
    lost = whole = 0.0
    for module in sorted({name.rpartition(".lora_")[0] for name in tensors}):
        base = weights[f"{module}.weight"].float()
        b, a = tensors[f"{module}.lora_B.weight"], tensors[f"{module}.lora_A.weight"]
        directed = base + scale * (b.float() @ a.float())
        norms = torch.linalg.norm(directed, dim=1)
        magnitude = _magnitude(tensors, module).float()
        delta = (magnitude / norms)[:, None] * directed - base
        factors[module] = cut(delta, min(rank, *delta.shape))
        errors[module] = relative_error({module: delta}, factors)
        energy = float(delta.double().square().sum())
        whole += energy
        lost += errors[module] ** 2 * energy
    written = write_lora(folder, factors, source.manifest.base.model)
    return Conversion(
        Servable(
            form="lora",
            origin="approximate",
            rank=written,
            target_modules=tuple(leaves(factors)),
            error=(lost / whole) ** 0.5 if whole else 0.0,
        ),
        modules=errors,
    )


def _magnitude(tensors: dict[str, torch.Tensor], module: str) -> torch.Tensor:
    """PEFT writes the magnitude with and without `.weight`, by version."""
    name = f"{module}.lora_magnitude_vector"
    return tensors[name] if name in tensors else tensors[f"{name}.weight"]
