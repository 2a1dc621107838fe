"""A LoRA folder as weight deltas: every key of PEFT's configuration that changes a scale, applied.

s = α/r, or α/√r with rsLoRA (Kalajdzievski 2023); `rank_pattern` and `alpha_pattern` change r and α
of the modules that they name. Converters that read `lora_alpha` alone give another model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapterworks.builders.methods.factors import module_scale, read_adapter
from adapterworks.manifests.errors import Refused

if TYPE_CHECKING:
    import torch

_A, _B = ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True, slots=True)
class Delta:
    """ΔW = s·B·A of one linear: A [rank, in_features], B [out_features, rank], float32."""

    a: torch.Tensor
    b: torch.Tensor
    scale: float

    @property
    def rank(self) -> int:
        """Rows of A."""
        return int(self.a.shape[0])

    def full(self) -> torch.Tensor:
        """[out_features, in_features], float32."""
        return self.scale * (self.b @ self.a)


def read_deltas(folder: Path) -> dict[str, Delta]:
    """The deltas of a LoRA folder, by module name in the base (`model.layers.0.mlp.up_proj`).

    Raises:
        Refused: it holds something besides pairs of factors.
    """
    tensors, configuration = read_adapter(folder)
    pairs = {name.removesuffix(_A) for name in tensors if name.endswith(_A)}
    others = sorted(set(tensors) - {pair + part for pair in pairs for part in (_A, _B)})
    if others:
        raise Refused(
            f"`{others[0]}` is no factor of a linear", hint="only plain LoRA can be written so"
        )
    return {
        name: Delta(
            tensors[name + _A].float(),
            tensors[name + _B].float(),
            module_scale(configuration, name),
        )
        for name in sorted(pairs)
    }
