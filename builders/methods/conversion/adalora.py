"""AdaLoRA → LoRA, exactly: s·B·diag(E)·A with B′ = s·B and A′ = diag(E)·A.

Invariant: PEFT's own scale is kept: α/(initial_rank + 1e-5), whatever ranks were pruned. Triplets
whose singular value is zero are dropped: they add nothing.
"""

from __future__ import annotations

from pathlib import Path

from adapterworks.builders.methods.conversion.conversion import Conversion, Source
from adapterworks.builders.methods.conversion.factors import (
    Factors,
    leaves,
    read_adapter,
    write_lora,
)
from adapterworks.manifests.errors import Refused
from adapterworks.registry.releases.release import Servable


def convert_adalora(source: Source, folder: Path) -> Conversion:
    """Fold the diagonal and drop pruned ranks.

    Raises:
        Refused: every rank was pruned.
    """
    tensors, configuration = read_adapter(source.adapter)
    scale = float(str(configuration["lora_alpha"])) / (float(str(configuration["init_r"])) + 1e-5)
    factors = {}
    for module in sorted({name.rpartition(".lora_")[0] for name in tensors}):
        diagonal = tensors[f"{module}.lora_E"].float()
        kept = (diagonal != 0).squeeze(-1)
        a = tensors[f"{module}.lora_A"].float()[kept] * diagonal[kept]
        b = tensors[f"{module}.lora_B"].float()[:, kept] * scale
        factors[module] = Factors(a, b)  # of rank 0 where all was pruned: written as zeros
    if not any(entry.rank for entry in factors.values()):
        raise Refused(
            "AdaLoRA pruned every rank: the adapter changes nothing",
            hint="train longer, or raise `train.learning_rate` or `method.rank`",
        )
    rank = write_lora(folder, factors, source.manifest.base.model)
    return Conversion(
        Servable(form="lora", origin="exact", rank=rank, target_modules=tuple(leaves(factors)))
    )
