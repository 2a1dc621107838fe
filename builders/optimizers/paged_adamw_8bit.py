"""8-bit AdamW whose moments move to the host's memory when the GPU's is full (bitsandbytes)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapterworks.builders.optimizers.optimizer import Group, Optimizer

if TYPE_CHECKING:
    import torch


def _make(groups: list[Group], rate: float, decay: float) -> torch.optim.Optimizer:
    import bitsandbytes

    made: torch.optim.Optimizer = bitsandbytes.optim.PagedAdamW8bit(
        [group.to_torch() for group in groups], lr=rate, weight_decay=decay
    )
    return made


OPTIMIZER = Optimizer(
    "paged-adamw-8bit",
    "8-bit AdamW, paged",
    "Dettmers et al. 2023, arXiv:2305.14314, §3",
    _make,
    state=2,
    package="bitsandbytes",
    needs="cuda",
)
