"""VB-LoRA (Li et al. 2024, arXiv:2405.15179): LoRA whose factors are put together from the vectors
of one bank that all modules share; trained are the bank, and logits that choose k vectors a piece.

Invariant: the chosen vectors, weighed by the softmax of their logits, are plain factors A and B of
the declared rank: served exactly, with a scale of 1. Unlike LoRA's, the product is not zero before
the first step (both factors come from one bank), only small.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adapterworks.builders.methods.conversion import Conversion, Source
from adapterworks.builders.methods.factors import Factors, leaves, read_adapter, write_lora
from adapterworks.builders.methods.linears import adapted_linears
from adapterworks.builders.methods.low_rank import (
    RANKS,
    TargetKeys,
    adapts_something,
    low_rank_kept,
    peft_linears,
    targeted,
)
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import (
    Default,
    Kept,
    Lint,
    ServableForm,
    Technique,
    engine_rank,
)
from adapterworks.manifests.checking import Problem, check
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest, ServeTable
from adapterworks.manifests.values import Dropout, PositiveInt, Rank
from adapterworks.registry.releases.forms import LORA
from adapterworks.registry.releases.release import Servable

if TYPE_CHECKING:
    import torch
    from torch import nn


class VbloraTable(TargetKeys):
    """LoRA out of a shared bank of vectors (Li et al. 2024)."""

    kind: Literal["vblora"]
    """The method."""
    rank: Rank = 4
    """Rank of the weight delta."""
    vectors: PositiveInt = 256
    """Vectors in the bank."""
    vector_length: PositiveInt = 256
    """Length of each; divides the width of every adapted module, in and out."""
    chosen: PositiveInt = 2
    """Vectors that each piece of a factor is made of."""
    dropout: Dropout = 0.0
    """Dropout on the adapter's input while training."""


@check("method")
def can_choose(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """No more vectors are chosen than there are."""
    table = manifest.method
    assert isinstance(table, VbloraTable)
    if table.chosen > table.vectors:
        yield Problem(
            ("method", "chosen"),
            f"{table.chosen} vectors cannot be chosen out of {table.vectors}",
            "raise `vectors`, or lower `chosen`",
        )


class Vblora(Technique[VbloraTable]):
    """One bank for all modules."""

    table = VbloraTable
    title = "LoRA out of a shared vector bank"
    source = "Li et al. 2024, arXiv:2405.15179"
    form = LORA
    learning_rate = Default(1e-3, "Li et al. 2024, appendix: 1e-3 for the bank, 1e-2 for logits")
    checks = (adapts_something, can_choose)

    def trainable(self, shape: BaseShape, table: VbloraTable) -> int:
        pieces = sum(
            (linear.in_features + linear.out_features) // table.vector_length
            for linear in targeted(shape, table)
        )
        return table.vectors * (table.vector_length + table.rank * pieces)

    def require(self, shape: BaseShape, table: VbloraTable) -> None:
        for linear in targeted(shape, table):
            for width in (linear.in_features, linear.out_features):
                if width % table.vector_length:
                    raise InvalidInput(
                        f"`method.vector_length` {table.vector_length} does not divide the width "
                        f"{width} of `{linear.name}`",
                        hint=f"use {_divisor(shape, table)} on this base",
                    )

    def servable(self, shape: BaseShape, table: VbloraTable, serve: ServeTable) -> ServableForm:
        return ServableForm(LORA, "exact", "vectors put together", engine_rank(table.rank))

    def lints(self, shape: BaseShape, table: VbloraTable) -> list[Lint]:
        if table.chosen <= 4:
            return []
        return [
            Lint(
                "method.chosen",
                f"{table.chosen} vectors a piece",
                "Li et al. 2024, §4.5: 2 is as good as more",
            )
        ]

    def kept(self, shape: BaseShape, table: VbloraTable, width: int) -> Kept:
        """LoRA's; and, of all modules, the chosen vectors and what they are put together to."""
        linears = targeted(shape, table)
        pair = table.rank * sum(x.in_features + x.out_features for x in linears)
        layer = low_rank_kept(shape, table.rank * len(linears), table.dropout).layer
        return Kept(layer=layer, once=4 * pair * (1 + table.chosen))

    def release_bytes(self, shape: BaseShape, trainable: int) -> int:
        """What was trained, and a LoRA of rank 8, the least that the engine takes but 1."""
        linears = sum(x.in_features + x.out_features for x in shape.linears)
        return 4 * trainable + 4 * 8 * linears

    def sizes(self, table: VbloraTable) -> Iterable[VbloraTable]:
        """Every rank."""
        return [table.model_copy(update={"rank": rank}) for rank in RANKS]

    def rates(self, model: nn.Module, table: VbloraTable) -> dict[str, float]:
        """Logits learn ten times as fast as the bank (Li et al. 2024, appendix)."""
        return {name: 10.0 for name, _ in model.named_parameters() if ".vblora_logits_" in name}

    def attach(self, model: nn.Module, table: VbloraTable, steps: int) -> nn.Module:
        from peft import VBLoRAConfig, get_peft_model

        adapted: nn.Module = get_peft_model(
            model,
            VBLoRAConfig(
                r=table.rank,
                num_vectors=table.vectors,
                vector_length=table.vector_length,
                topk=table.chosen,
                vblora_dropout=table.dropout,
                target_modules=[linear.name for linear in peft_linears(table, model)],
                fan_in_fan_out=any(linear.transposed for linear in adapted_linears(model)),
                task_type="CAUSAL_LM",
            ),
        )
        return adapted

    def convert(self, source: Source, folder: Path) -> Conversion:
        """Put the factors together as PEFT's forward pass does (peft/tuners/vblora/layer.py)."""
        tensors, configuration = read_adapter(source.adapter)
        bank = tensors["base_model.vblora_vector_bank"].float()
        modules = sorted({n.rpartition(".vblora_")[0] for n in tensors if ".vblora_logits_" in n})
        factors = {}
        for module in modules:
            a, b = (
                _put_together(
                    tensors[f"{module}.vblora_logits_{part}"].float(), bank, configuration
                )
                for part in "AB"
            )
            # A: [rank, pieces, length]; B: [pieces, rank, length].
            factors[module] = Factors(
                a.reshape(a.shape[0], -1).contiguous(),
                b.transpose(1, 2).reshape(-1, b.shape[1]).contiguous(),
            )
        rank = write_lora(folder, factors, source.manifest.base.model, modules)
        return Conversion(
            Servable(form=LORA, origin="exact", rank=rank, target_modules=tuple(leaves(modules)))
        )


def _put_together(
    logits: torch.Tensor, bank: torch.Tensor, configuration: dict[str, Any]
) -> torch.Tensor:
    """[…, vectors] → […, vector_length]: the k likeliest vectors, weighed."""
    import torch

    best, indices = logits.topk(int(configuration["topk"]), dim=-1)
    return (torch.softmax(best, dim=-1)[..., None] * bank[indices]).sum(dim=-2)


def _divisor(shape: BaseShape, table: VbloraTable) -> int:
    """The largest length up to the declared one that divides every adapted width."""
    from math import gcd

    common = 0
    for linear in targeted(shape, table):
        common = gcd(common, linear.in_features, linear.out_features)
    return max(n for n in range(1, min(common, table.vector_length) + 1) if common % n == 0)


VBLORA = Vblora()
