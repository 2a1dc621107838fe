"""PiSSA (Meng et al. 2024, arXiv:2404.02948): B·A starts as the r largest singular triplets of W,
and the frozen rest is what is left of W.

By Halko's randomized SVD with 16 iterations, which is what the paper times (§4.5) and PEFT calls
`pissa_niter_16`; its random numbers follow from `train.seed`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapterworks.builders.methods.inits.init import Init


@dataclass(frozen=True)
class Pissa(Init):
    """PEFT decomposes the matrix in float32, turned as it multiplies."""

    def set(self, layer: Any) -> None:
        layer.pissa_init("default", self.peft)


PISSA = Pissa(
    "pissa",
    "Principal singular values and vectors",
    "Meng et al. 2024, arXiv:2404.02948",
    "pissa_niter_16",
    part_of_base=True,
)
