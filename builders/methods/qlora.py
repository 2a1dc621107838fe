"""QLoRA (Dettmers et al. 2023, arXiv:2305.14314): LoRA on a base stored in 4-bit NormalFloat.

Invariant: the adapter differs from LoRA's only in the base it was trained on; it must be served on
the same values (`Base.served`), which the release's base digest pins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adapterworks.builders.methods.lora import Lora, LoraTable
from adapterworks.builders.methods.lora_keys import LoraKeys
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import Default, Kept, largest_linear, own_card
from adapterworks.manifests.checking import Problem, check
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import BaseTable, Manifest

if TYPE_CHECKING:
    import torch
    from torch import nn

    from adapterworks.registry.bases.base import Base

# NF4 holds 4 bits a weight and one scale a block of 64: 8 bits (double quantization, plus a second
# scale every 256 blocks) or 32 bits (Dettmers et al. 2023, §3).
_NF4_BITS = {True: 4 + 8 / 64 + 32 / (64 * 256), False: 4 + 32 / 64}


class QloraTable(LoraKeys):
    """LoRA on an NF4 base (Dettmers et al. 2023); `rslora` is Kalajdzievski 2023."""

    kind: Literal["qlora"]
    """The method."""


@check("method", "base.quantization")
def needs_nf4(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """Without a quantized base it would be LoRA."""
    quantization = manifest.base.quantization
    if quantization != "nf4":
        yield Problem(
            ("base", "quantization"),
            f'method `qlora` trains on an NF4 base, but quantization is "{quantization}"',
            'set `base.quantization = "nf4"`, or `method.kind = "lora"`',
        )


class Qlora(Lora):
    """LoRA whose frozen base is NF4 with double quantization."""

    table = QloraTable
    shards = False
    title = "LoRA on an NF4 base"
    source = "Dettmers et al. 2023, arXiv:2305.14314"
    learning_rate = Default(2e-4, "Dettmers et al. 2023, table 9 (7B and 13B)")
    checks = (needs_nf4, *Lora.checks)
    quantization = "nf4"
    rounds = False  # its base is rounded already, on another grid
    inits = ("kaiming", "gaussian", "orthogonal", "eva", "loftq")
    lightens = LoraTable

    def require(self, shape: BaseShape, table: LoraKeys) -> None:
        super().require(shape, table)
        if any(linear.transposed for linear in shape.linears):
            raise InvalidInput(
                f"`qlora` cannot be used with a base of type `{shape.architecture}`: its matrices "
                "are stored transposed, and 4-bit kernels read them in another order than they are "
                "served in",
                hint='use `method.kind = "lora"`, on the same NF4 values',
            )

    def weight_bytes(self, shape: BaseShape, base: BaseTable, *, width: int, trainable: int) -> int:
        """Linears in 4 bits, everything else as in any training."""
        linears = int(shape.linear_parameters * _NF4_BITS[base.double_quantization] / 8)
        return linears + shape.other * width + 4 * trainable

    def kept(self, shape: BaseShape, table: LoraKeys, width: int) -> Kept:
        """LoRA's, and the largest weight de-quantized twice beside its original."""
        return replace(super().kept(shape, table, width), once=2 * largest_linear(shape) * width)

    def checkpoint(self, base: Base) -> Path:
        """The weights that are quantized, not their dense values."""
        return base.checkpoint

    def load(self, checkpoint: Path, base: BaseTable, dtype: torch.dtype, device: str) -> nn.Module:
        """The 4-bit weights themselves: those that `Base.served` holds de-quantized."""
        from adapterworks.registry.bases.nf4 import load_nf4

        model: nn.Module = load_nf4(
            checkpoint,
            double_quantization=base.double_quantization,
            dtype=dtype,
            device=f"cuda:{own_card()}" if device == "cuda" else device,
        )
        return model


QLORA = Qlora()
