"""LoRA and QLoRA: served as trained. The engine honours rsLoRA's α/√r (vllm/lora/peft_helper.py).

Invariant: at a rank the engine allows, the files are PEFT's own, byte for byte; at another, zeros
are added to the factors and the scale is folded in, which changes no product.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from adapterworks.builders.methods.conversion.conversion import Conversion, Source
from adapterworks.builders.methods.conversion.factors import (
    Factors,
    leaves,
    read_adapter,
    write_lora,
)
from adapterworks.builders.methods.technique import ENGINE_RANKS
from adapterworks.manifests.models import LoraMethod
from adapterworks.registry.releases.release import Servable


def convert_lora(source: Source, folder: Path) -> Conversion:
    """Copy, or pad, a LoRA adapter."""
    tensors, configuration = read_adapter(source.adapter)
    modules = {name.rpartition(".lora_")[0] for name in tensors}
    method = source.manifest.method
    assert isinstance(method, LoraMethod)
    rank = method.rank
    targets = tuple(leaves(modules))
    if rank in ENGINE_RANKS:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            shutil.copyfile(source.adapter / name, folder / name)
        return Conversion(Servable(form="lora", origin="native", rank=rank, target_modules=targets))
    alpha = float(str(configuration["lora_alpha"]))
    scale = alpha / rank**0.5 if method.rslora else alpha / rank
    factors = {
        module: Factors(
            tensors[f"{module}.lora_A.weight"].float(),
            tensors[f"{module}.lora_B.weight"].float() * scale,
        )
        for module in modules
    }
    padded = write_lora(folder, factors, source.manifest.base.model)
    return Conversion(Servable(form="lora", origin="exact", rank=padded, target_modules=targets))
