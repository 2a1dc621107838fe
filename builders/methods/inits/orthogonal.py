"""A and B random in two halves of one orthogonal basis: both learn from the first step, and B·A is
zero. The rank has to be even."""

from __future__ import annotations

from dataclasses import dataclass

from adapterworks.builders.methods.inits.init import Init
from adapterworks.builders.methods.shape import BaseShape


@dataclass(frozen=True)
class Orthogonal(Init):
    """Needs two halves."""

    def objection(self, shape: BaseShape, rank: int) -> str | None:
        return f"it needs an even rank, not {rank}" if rank % 2 else None


ORTHOGONAL = Orthogonal(
    "orthogonal",
    "A and B in orthogonal halves",
    "datta0.github.io/posts/rethink-lora-init",
    "orthogonal",
)
