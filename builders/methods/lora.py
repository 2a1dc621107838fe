"""LoRA (Hu et al. 2021, arXiv:2106.09685): W + s·B·A of rank r; s = α/r, or α/√r (rsLoRA).

Invariant: B starts at zero, so an untrained adapter is the base.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import (
    Default,
    Lint,
    ServableForm,
    Technique,
    engine_rank,
)
from adapterworks.manifests.models import LoraMethod, ServeTable

if TYPE_CHECKING:
    from torch import nn

WITHOUT_REGRET = "LoRA Without Regret (Thinking Machines, 2025)"


def lora_alpha(table: LoraMethod) -> int:
    """α, by default 2·r."""
    return table.alpha if table.alpha is not None else 2 * table.rank


def lora_lints(shape: BaseShape, table: LoraMethod) -> list[Lint]:
    """Unusual ranks, scales and targets."""
    lints = []
    alpha = lora_alpha(table)
    if not table.rslora and not 0.5 <= alpha / table.rank <= 4:
        lints.append(
            Lint(
                "method.alpha",
                f"alpha/rank is {alpha / table.rank:g}; 1 to 2 is usual",
                "Hu et al. 2021 fix α and tune the learning rate; α = 2r is the common default",
            )
        )
    if table.rslora and alpha > 4 * table.rank**0.5 * 2:
        lints.append(
            Lint(
                "method.alpha",
                f"with rslora the scale is alpha/√rank = {alpha / table.rank**0.5:g}",
                "Kalajdzievski 2023, arXiv:2312.03732: keep the scale near that of rank 8",
            )
        )
    if table.target_modules != "all-linear":
        chosen = shape.targeted(table.target_modules)
        if not any("mlp" in linear.name or "ffn" in linear.name for linear in chosen):
            lints.append(
                Lint(
                    "method.target_modules",
                    "no MLP layer is adapted; attention alone learns less at equal parameters",
                    WITHOUT_REGRET,
                )
            )
    smallest = min(
        min(linear.in_features, linear.out_features)
        for linear in shape.targeted(table.target_modules)
    )
    if table.rank > smallest // 2:
        lints.append(
            Lint(
                "method.rank",
                f"rank {table.rank} is more than half of the smallest adapted width {smallest}",
                "a product of rank ≥ width/2 has as many parameters as the matrix itself",
            )
        )
    return lints


class Lora(Technique[LoraMethod]):
    """Low-rank adaptation on an unquantized base."""

    kind = "lora"
    title = "Low-rank adaptation"
    source = "Hu et al. 2021, arXiv:2106.09685"
    form = "lora"
    learning_rate = Default(2e-4, f"≈10× full fine-tuning's: {WITHOUT_REGRET}")
    use_dora = False

    def trainable(self, shape: BaseShape, table: LoraMethod) -> int:
        return sum(
            table.rank * (linear.in_features + linear.out_features)
            for linear in shape.targeted(table.target_modules)
        )

    def servable(self, shape: BaseShape, table: LoraMethod, serve: ServeTable) -> ServableForm:
        return ServableForm("lora", "native", "as trained", rank=engine_rank(table.rank))

    def lints(self, shape: BaseShape, table: LoraMethod) -> list[Lint]:
        return lora_lints(shape, table)

    def attach(self, model: nn.Module, table: LoraMethod, steps: int) -> nn.Module:
        from peft import LoraConfig, get_peft_model

        targets = table.target_modules
        adapted: nn.Module = get_peft_model(
            model,
            LoraConfig(
                r=table.rank,
                lora_alpha=lora_alpha(table),
                lora_dropout=table.dropout,
                target_modules=targets if isinstance(targets, str) else list(targets),
                use_rslora=table.rslora,
                use_dora=self.use_dora,
                bias="none",
                task_type="CAUSAL_LM",
            ),
        )
        return adapted
