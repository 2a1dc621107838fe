"""Full-parameter fine-tuning: every weight of the base is trained.

Invariant: the release keeps the full weights under `full/`; what the engine loads beside other
adapters is a LoRA of the weight delta, cut by SVD at a rank chosen by energy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import ENGINE_RANKS, Default, ServableForm, Technique
from adapterworks.manifests.models import FullMethod, ServeTable

if TYPE_CHECKING:
    from torch import nn

MAX_RANK = 256


class Full(Technique[FullMethod]):
    """All parameters."""

    kind = "full"
    title = "Full-parameter fine-tuning"
    source = "Howard & Ruder 2018, arXiv:1801.06146; Ouyang et al. 2022, arXiv:2203.02155"
    form = "lora"
    cut = True
    learning_rate = Default(2e-5, "Taori et al. 2023 (Alpaca), Touvron et al. 2023 §3.1 (2e-5)")

    def trainable(self, shape: BaseShape, table: FullMethod) -> int:
        return shape.parameters

    def servable(self, shape: BaseShape, table: FullMethod, serve: ServeTable) -> ServableForm:
        if serve.conversion_rank:
            rank = next(r for r in ENGINE_RANKS if r >= serve.conversion_rank)
            return ServableForm("lora", "approximate", f"SVD of the delta at rank {rank}", rank)
        return ServableForm("lora", "approximate", "SVD of the delta by energy", max_rank=MAX_RANK)

    def attach(self, model: nn.Module, table: FullMethod, steps: int) -> nn.Module:
        model.requires_grad_(True)
        return model
