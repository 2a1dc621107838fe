"""DoRA (Liu et al. 2024, arXiv:2402.09353): m·(W + s·B·A)/‖W + s·B·A‖, a magnitude per output row.

Invariant: one magnitude more per output feature than LoRA. The engine has no DoRA, so the release
carries the merged delta m·V/‖V‖ − W, V = W + s·B·A, as LoRA by truncated SVD; norms are taken per
output row of the base's served values, as PEFT takes them in the forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from adapterworks.builders.methods.conversion import Conversion, Source
from adapterworks.builders.methods.factors import (
    module_scale,
    paths_of,
    read_adapter,
    read_weights,
    write_cut,
)
from adapterworks.builders.methods.lora import Lora
from adapterworks.builders.methods.lora_keys import LoraKeys, as_lora, highest_rank
from adapterworks.builders.methods.low_rank import targeted
from adapterworks.builders.methods.orthogonal import keeps_no_ranks
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import (
    Default,
    Kept,
    ServableForm,
    engine_rank,
    largest_linear,
)
from adapterworks.manifests.models import ServeTable
from adapterworks.registry.releases.forms import LORA

if TYPE_CHECKING:
    import torch


class DoraTable(LoraKeys):
    """Weight-decomposed low-rank adaptation (Liu et al. 2024); `rslora` is Kalajdzievski 2023."""

    kind: Literal["dora"]
    """The method."""


class Dora(Lora):
    """Weight-decomposed low-rank adaptation."""

    table = DoraTable
    shards = False
    title = "Weight-decomposed low-rank adaptation"
    source = "Liu et al. 2024, arXiv:2402.09353"
    learning_rate = Default(2e-4, "Liu et al. 2024, appendix: 1e-4 to 3e-4 for LLaMA models")
    use_dora = True
    rounds = False  # norms of what is rounded would be another method
    inits = ("kaiming", "gaussian", "orthogonal")
    cut = True
    checks = (*Lora.checks, keeps_no_ranks)

    def trainable(self, shape: BaseShape, table: LoraKeys) -> int:
        magnitudes = sum(x.out_features for x in targeted(shape, table))
        return super().trainable(shape, table) + magnitudes

    def servable(self, shape: BaseShape, table: LoraKeys, serve: ServeTable) -> ServableForm:
        rank = serve.conversion_rank or dora_rank(highest_rank(table))
        return ServableForm(
            LORA, "approximate", f"SVD of the merged delta at rank {rank}", engine_rank(rank)
        )

    def kept(self, shape: BaseShape, table: LoraKeys, width: int) -> Kept:
        """LoRA's, the largest weight merged beside its original, and half of all for the norms."""
        once = 2 * largest_linear(shape) * width + shape.linear_parameters * width // 2
        return replace(super().kept(shape, table, width), once=once)

    def convert(self, source: Source, folder: Path) -> Conversion:
        """Merge, subtract the base, cut."""
        import torch

        tensors, configuration = read_adapter(source.adapter)
        weights = read_weights(source.served)

        def deltas() -> Iterator[tuple[str, torch.Tensor]]:
            for module in sorted({name.rpartition(".lora_")[0] for name in tensors}):
                base = weights[f"{module}.weight"].float()
                b, a = tensors[f"{module}.lora_B.weight"], tensors[f"{module}.lora_A.weight"]
                scale = module_scale(configuration, module)
                directed = base + scale * (b.float() @ a.float())
                norms = torch.linalg.norm(directed, dim=1)
                magnitude = _magnitude(tensors, module).float()
                yield module, (magnitude / norms)[:, None] * directed - base

        table = as_lora(source.manifest.method)
        assert table is not None
        rank = source.manifest.serve.conversion_rank or dora_rank(highest_rank(table))
        base = source.manifest.base.model
        return write_cut(folder, deltas(), rank, base, paths_of(configuration))


def dora_rank(rank: int) -> int:
    """The rank the delta is cut to: the magnitudes add a full-rank part, so twice LoRA's."""
    return engine_rank(min(2 * rank, 512))


def _magnitude(tensors: dict[str, torch.Tensor], module: str) -> torch.Tensor:
    """PEFT writes the magnitude with and without `.weight`, by version."""
    name = f"{module}.lora_magnitude_vector"
    return tensors[name] if name in tensors else tensors[f"{name}.weight"]


DORA = Dora()
