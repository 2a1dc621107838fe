"""Schedule-free AdamW: an average of the iterates in place of a falling learning rate.

The authors' package, with its defaults. Gradients are taken at y, what is evaluated and kept is the
average x; `train()` and `eval()` go from one to the other. It needs no schedule and takes none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapterworks.builders.optimizers.optimizer import Group, Optimizer

if TYPE_CHECKING:
    import torch


def _make(groups: list[Group], rate: float, decay: float) -> torch.optim.Optimizer:
    from schedulefree import AdamWScheduleFree

    made: torch.optim.Optimizer = AdamWScheduleFree(
        [group.to_torch() for group in groups], lr=rate, weight_decay=decay, foreach=False
    )
    return made


OPTIMIZER = Optimizer(
    "schedule-free",
    "Schedule-free AdamW",
    "Defazio et al. 2024, arXiv:2405.15682",
    _make,
    state=8,
    package="schedulefree",
    schedules=("constant",),
    averages=True,
    remembers=("k", "weight_sum", "lr_max", "scheduled_lr", "train_mode"),
)
