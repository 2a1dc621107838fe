"""AdamW, Adam with decoupled weight decay: PyTorch's, with its defaults (β 0.9, 0.999, ε 1e-8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapterworks.builders.optimizers.optimizer import Group, Optimizer

if TYPE_CHECKING:
    import torch


def _make(groups: list[Group], rate: float, decay: float) -> torch.optim.Optimizer:
    import torch

    return torch.optim.AdamW([group.to_torch() for group in groups], lr=rate, weight_decay=decay)


OPTIMIZER = Optimizer(
    "adamw",
    "Adam with decoupled weight decay",
    "Loshchilov & Hutter 2017, arXiv:1711.05101",
    _make,
    state=8,
    by_number=True,
    # It computes on all parameters together ("~ sizeof(params) more", its documentation).
    temporaries=4,
)
