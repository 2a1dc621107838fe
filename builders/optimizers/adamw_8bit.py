"""AdamW with moments in 8 bits, block by block (bitsandbytes, with its defaults).

Tensors of fewer than 4,096 numbers keep theirs in float32, as bitsandbytes does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapterworks.builders.optimizers.optimizer import Group, Optimizer

if TYPE_CHECKING:
    import torch


def _make(groups: list[Group], rate: float, decay: float) -> torch.optim.Optimizer:
    import bitsandbytes

    made: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(
        [group.to_torch() for group in groups], lr=rate, weight_decay=decay
    )
    return made


OPTIMIZER = Optimizer(
    "adamw-8bit",
    "AdamW with moments in 8 bits",
    "Dettmers et al. 2021, arXiv:2110.02861",
    _make,
    state=2,
    package="bitsandbytes",
)
