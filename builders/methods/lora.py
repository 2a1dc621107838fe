"""LoRA (Hu et al. 2021, arXiv:2106.09685): W + s·B·A of rank r; s = α/r, or α/√r (rsLoRA).

Invariant: B starts at zero, so an untrained adapter is the base. It is served as trained, and the
engine honours rsLoRA's α/√r (vllm/lora/peft_helper.py): at a rank the engine allows, the files are
PEFT's own, byte for byte; at another, zeros are added to the factors and the scale is folded in,
which changes no product.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from adapterworks.builders.methods.conversion import Conversion, Source
from adapterworks.builders.methods.factors import Factors, leaves, read_adapter, write_lora
from adapterworks.builders.methods.low_rank import (
    RANKS,
    Targets,
    adapts_something,
    low_rank_kept,
    low_rank_train_lints,
    peft_targets,
)
from adapterworks.builders.methods.shape import BaseShape, adapted_linears
from adapterworks.builders.methods.technique import (
    ENGINE_RANKS,
    Default,
    Kept,
    Lint,
    ServableForm,
    Technique,
    engine_rank,
)
from adapterworks.manifests.checking import Check
from adapterworks.manifests.method import MethodTable
from adapterworks.manifests.models import ServeTable, TrainTable
from adapterworks.manifests.values import Dropout, PositiveInt, Rank
from adapterworks.registry.releases.forms import LORA as FORM
from adapterworks.registry.releases.release import Servable

if TYPE_CHECKING:
    from torch import nn

WITHOUT_REGRET = "LoRA Without Regret (Thinking Machines, 2025)"


class LoraKeys(MethodTable):
    """The keys of LoRA and of what is LoRA in another way: quantized, or weight-decomposed.

    `rslora` scales by α/√r (Kalajdzievski 2023).
    """

    rank: Rank = 16
    """Rank r of the weight delta."""
    alpha: PositiveInt | None = None
    """Scale α; 2·rank if not given."""
    dropout: Dropout = 0.0
    """Dropout on the adapter's input while training."""
    target_modules: Targets = "all-linear"
    """`all-linear`, or names of the modules that get an adapter."""
    rslora: bool = False
    """Scale by α/√r in place of α/r."""


class LoraTable(LoraKeys):
    """Low-rank adaptation (Hu et al. 2021); `rslora` is Kalajdzievski 2023."""

    kind: Literal["lora"]
    """The method."""


def lora_alpha(table: LoraKeys) -> int:
    """α, by default 2·r."""
    return table.alpha if table.alpha is not None else 2 * table.rank


def lora_lints(shape: BaseShape, table: LoraKeys) -> list[Lint]:
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


class Lora(Technique[LoraKeys]):
    """Low-rank adaptation on an unquantized base."""

    table: type[LoraKeys] = LoraTable
    title = "Low-rank adaptation"
    source = "Hu et al. 2021, arXiv:2106.09685"
    form = FORM
    learning_rate = Default(2e-4, f"≈10× full fine-tuning's: {WITHOUT_REGRET}")
    checks: tuple[Check, ...] = (adapts_something,)
    use_dora = False

    def trainable(self, shape: BaseShape, table: LoraKeys) -> int:
        return sum(
            table.rank * (linear.in_features + linear.out_features)
            for linear in shape.targeted(table.target_modules)
        )

    def servable(self, shape: BaseShape, table: LoraKeys, serve: ServeTable) -> ServableForm:
        return ServableForm(FORM, "native", "as trained", rank=engine_rank(table.rank))

    def lints(self, shape: BaseShape, table: LoraKeys) -> list[Lint]:
        return lora_lints(shape, table)

    def train_lints(self, train: TrainTable) -> list[Lint]:
        return low_rank_train_lints(train)

    def kept(self, shape: BaseShape, table: LoraKeys, width: int) -> Kept:
        return low_rank_kept(shape, table.target_modules, table.rank, table.dropout)

    def sizes(self, table: LoraKeys) -> Iterable[LoraKeys]:
        """Every rank; α keeps its ratio to it."""
        ratio = 2.0 if table.alpha is None else table.alpha / table.rank
        return [
            table.model_copy(update={"rank": rank, "alpha": max(1, round(ratio * rank))})
            for rank in RANKS
        ]

    def adopt(self, table: MethodTable) -> LoraKeys | None:
        """LoRA, QLoRA and DoRA mean the same by rank, α and learning rate."""
        if not isinstance(table, LoraKeys):
            return None
        return self.table.model_validate({**table.model_dump(), "kind": self.kind})

    def attach(self, model: nn.Module, table: LoraKeys, steps: int) -> nn.Module:
        from peft import LoraConfig, get_peft_model

        adapted: nn.Module = get_peft_model(
            model,
            LoraConfig(
                r=table.rank,
                lora_alpha=lora_alpha(table),
                lora_dropout=table.dropout,
                target_modules=peft_targets(table.target_modules, model),
                use_rslora=table.rslora,
                use_dora=self.use_dora,
                # GPT-2's matrices are stored transposed; PEFT would see it, and warn.
                fan_in_fan_out=any(linear.transposed for linear in adapted_linears(model)),
                bias="none",
                task_type="CAUSAL_LM",
            ),
        )
        return adapted

    def convert(self, source: Source, folder: Path) -> Conversion:
        """Copy, or pad to a rank that the engine allows."""
        tensors, configuration = read_adapter(source.adapter)
        modules = {name.rpartition(".lora_")[0] for name in tensors}
        rank, scale = lora_scale(source, configuration)
        targets = tuple(leaves(modules))
        if rank in ENGINE_RANKS:
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("adapter_model.safetensors", "adapter_config.json"):
                shutil.copyfile(source.adapter / name, folder / name)
            return Conversion(
                Servable(form=FORM, origin="native", rank=rank, target_modules=targets)
            )
        factors = {
            module: Factors(
                tensors[f"{module}.lora_A.weight"].float(),
                tensors[f"{module}.lora_B.weight"].float() * scale,
            )
            for module in modules
        }
        padded = write_lora(folder, factors, source.manifest.base.model)
        return Conversion(Servable(form=FORM, origin="exact", rank=padded, target_modules=targets))


def lora_scale(source: Source, configuration: dict[str, object]) -> tuple[int, float]:
    """Rank, and what B·A is multiplied by, of a trained adapter."""
    table = source.manifest.method
    assert isinstance(table, LoraKeys)
    alpha = float(str(configuration["lora_alpha"]))
    return table.rank, alpha / table.rank**0.5 if table.rslora else alpha / table.rank


LORA = Lora()
