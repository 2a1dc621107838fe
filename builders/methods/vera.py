"""VeRA (Kopiczko et al. 2023, arXiv:2310.11454): ΔW = diag(b)·B·diag(d)·A, with one random, frozen
pair A, B for all layers and two trained vectors a module.

Invariant: b starts at zero, so an untrained adapter is the base. A module's part of the shared
pair, scaled by its vectors, is a LoRA of the same rank: served exactly, unless
`serve.conversion_rank` asks for fewer. The pair follows from `projection_seed` and goes with the
adapter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from adapterworks.builders.methods.conversion import Conversion, Source
from adapterworks.builders.methods.factors import (
    Factors,
    leaves,
    read_adapter,
    write_cut,
    write_lora,
)
from adapterworks.builders.methods.linears import adapted_linears
from adapterworks.builders.methods.low_rank import (
    TargetKeys,
    adapts_something,
    peft_linears,
    targeted,
)
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import (
    ENGINE_RANKS,
    Default,
    Kept,
    Lint,
    ServableForm,
    Technique,
    engine_rank,
    linear_inputs,
)
from adapterworks.manifests.models import ServeTable
from adapterworks.manifests.values import Dropout, PositiveFloat, PositiveInt, Rank
from adapterworks.registry.releases.forms import LORA
from adapterworks.registry.releases.release import Servable

if TYPE_CHECKING:
    import torch
    from torch import nn


class VeraTable(TargetKeys):
    """Vectors on a shared random pair of factors (Kopiczko et al. 2023)."""

    kind: Literal["vera"]
    """The method."""
    rank: Rank = 256
    """Rank of the shared factors; it costs one trained number a module each."""
    dropout: Dropout = 0.0
    """Dropout on the adapter's input while training."""
    initial_scale: PositiveFloat = 0.1
    """What every number of d starts at."""
    projection_seed: PositiveInt | Literal[0] = 0
    """Seed of the shared factors."""


class Vera(Technique[VeraTable]):
    """Two vectors a module."""

    table = VeraTable
    title = "Vector-based random matrix adaptation"
    source = "Kopiczko et al. 2023, arXiv:2310.11454"
    form = LORA
    learning_rate = Default(4e-3, "Kopiczko et al. 2023, appendix: 4e-3 for instruction tuning")
    checks = (adapts_something,)

    def trainable(self, shape: BaseShape, table: VeraTable) -> int:
        return sum(linear.out_features + table.rank for linear in targeted(shape, table))

    def servable(self, shape: BaseShape, table: VeraTable, serve: ServeTable) -> ServableForm:
        if serve.conversion_rank and serve.conversion_rank < table.rank:
            rank = serve.conversion_rank
            return ServableForm(LORA, "approximate", f"cut at rank {rank}", engine_rank(rank))
        return ServableForm(LORA, "exact", "vectors folded in", engine_rank(table.rank))

    def lints(self, shape: BaseShape, table: VeraTable) -> list[Lint]:
        if table.rank >= 64:
            return []
        return [
            Lint(
                "method.rank",
                f"rank {table.rank} is small: it costs one number a module",
                "Kopiczko et al. 2023, table 1: 256 to 1024",
            )
        ]

    def kept(self, shape: BaseShape, table: VeraTable, width: int) -> Kept:
        """A·x before and after d, B's output before b; and the shared pair, in float32."""
        chosen = targeted(shape, table)
        outputs = sum(2 * table.rank + linear.out_features for linear in chosen) // shape.layers
        pair = max(x.in_features for x in chosen) + max(x.out_features for x in chosen)
        return Kept(layer=linear_inputs(shape) + outputs, once=4 * table.rank * pair)

    def release_bytes(self, shape: BaseShape, trainable: int) -> int:
        """The shared pair, and a LoRA of all linears at the largest rank that engines take."""
        linears = sum(x.in_features + x.out_features for x in shape.linears)
        return 4 * trainable + 4 * ENGINE_RANKS[-1] * linears

    def sizes(self, table: VeraTable) -> Iterable[VeraTable]:
        """Every rank that the engine takes."""
        return [table.model_copy(update={"rank": rank}) for rank in ENGINE_RANKS]

    def attach(self, model: nn.Module, table: VeraTable, steps: int) -> nn.Module:
        from peft import VeraConfig, get_peft_model

        adapted: nn.Module = get_peft_model(
            model,
            VeraConfig(
                r=table.rank,
                target_modules=[linear.name for linear in peft_linears(table, model)],
                projection_prng_key=table.projection_seed,
                vera_dropout=table.dropout,
                d_initial=table.initial_scale,
                fan_in_fan_out=any(linear.transposed for linear in adapted_linears(model)),
                task_type="CAUSAL_LM",
            ),
        )
        return adapted

    def convert(self, source: Source, folder: Path) -> Conversion:
        """Scale each module's part of the pair; cut only where it was asked for."""
        tensors, configuration = read_adapter(source.adapter)
        a, b = (tensors[f"base_model.vera_{part}"].float() for part in "AB")
        modules = sorted({name.rpartition(".vera_")[0] for name in tensors if "lambda" in name})
        factors = {}
        for module in modules:
            linear = next(x for x in source.shape.linears if x.name == module)
            d = tensors[f"{module}.vera_lambda_d"].float()
            rows = tensors[f"{module}.vera_lambda_b"].float()
            factors[module] = Factors(
                (d[:, None] * a[:, : linear.in_features]).contiguous(),
                (rows[:, None] * b[: linear.out_features]).contiguous(),
            )
        base, rank = source.manifest.base.model, source.manifest.serve.conversion_rank
        if rank and rank < int(configuration["r"]):

            def deltas() -> Iterator[tuple[str, torch.Tensor]]:
                for module, pair in factors.items():
                    yield module, pair.b @ pair.a

            return write_cut(folder, deltas(), rank, base, source.paths(factors))
        written = write_lora(folder, factors, base, modules)
        return Conversion(
            Servable(form=LORA, origin="exact", rank=written, target_modules=tuple(leaves(modules)))
        )


VERA = Vera()
