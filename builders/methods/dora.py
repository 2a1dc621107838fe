"""DoRA (Liu et al. 2024, arXiv:2402.09353): m·(W + s·B·A)/‖W + s·B·A‖, a magnitude per output row.

Invariant: one magnitude more per output feature than LoRA; the engine has no DoRA, so the release
carries the merged delta as LoRA by truncated SVD.
"""

from __future__ import annotations

from adapterworks.builders.methods.lora import Lora
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import Default, ServableForm, engine_rank
from adapterworks.manifests.models import LoraMethod, ServeTable


class Dora(Lora):
    """Weight-decomposed low-rank adaptation."""

    kind = "dora"
    title = "Weight-decomposed low-rank adaptation"
    source = "Liu et al. 2024, arXiv:2402.09353"
    learning_rate = Default(2e-4, "Liu et al. 2024, appendix: 1e-4 to 3e-4 for LLaMA models")
    use_dora = True
    cut = True

    def trainable(self, shape: BaseShape, table: LoraMethod) -> int:
        magnitudes = sum(x.out_features for x in shape.targeted(table.target_modules))
        return super().trainable(shape, table) + magnitudes

    def servable(self, shape: BaseShape, table: LoraMethod, serve: ServeTable) -> ServableForm:
        rank = serve.conversion_rank or dora_rank(table.rank)
        return ServableForm(
            "lora", "approximate", f"SVD of the merged delta at rank {rank}", engine_rank(rank)
        )


def dora_rank(rank: int) -> int:
    """The rank the delta is cut to: the magnitudes add a full-rank part, so twice LoRA's."""
    return engine_rank(min(2 * rank, 512))
