"""OLoRA (Büyükakyüz 2024, arXiv:2406.01775): B·A starts as the first r columns and rows of W's QR
decomposition, and the frozen rest is what is left of W."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapterworks.builders.methods.inits.init import Init
from adapterworks.builders.methods.shape import BaseShape


@dataclass(frozen=True)
class Olora(Init):
    """PEFT decomposes the matrix as it is stored."""

    def objection(self, shape: BaseShape, rank: int) -> str | None:
        if any(linear.transposed for linear in shape.linears):
            return "this base stores its matrices transposed, and it would decompose the wrong one"
        return None

    def set(self, layer: Any) -> None:
        layer.olora_init("default")


OLORA = Olora(
    "olora",
    "Orthonormal factors of a QR decomposition",
    "Büyükakyüz 2024, arXiv:2406.01775",
    "olora",
    part_of_base=True,
)
