"""Muon: momentum of matrices, orthogonalized; AdamW for all that is no matrix inside a layer.

PyTorch's, with the scale of Liu et al. 2025 (`match_rms_adamw`, 0.2·√max(rows, columns)), so that a
method's usual learning rate, which is AdamW's, means the same. Embeddings, output projections and
vectors get AdamW with the same learning rate, as both papers do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from adapterworks.builders.optimizers.optimizer import Group, Optimizer

if TYPE_CHECKING:
    import torch


def _make(groups: list[Group], rate: float, decay: float) -> torch.optim.Optimizer:
    import torch

    class Both(torch.optim.Optimizer):
        """One optimizer in front of two: groups and state are its own, theirs are views of them."""

        def __init__(self, groups: list[dict[str, Any]]) -> None:
            super().__init__(groups, {"lr": rate})
            matrices = [group for group in self.param_groups if group["matrix"]]
            others = [group for group in self.param_groups if not group["matrix"]]
            self.parts: list[tuple[bool, torch.optim.Optimizer]] = []
            if matrices:
                muon = torch.optim.Muon(
                    matrices, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
                )
                self.parts.append((True, muon))
            if others:
                adamw = torch.optim.AdamW(others, lr=rate, weight_decay=decay)
                self.parts.append((False, adamw))

        def step(self, closure: Callable[[], float] | None = None) -> None:
            for matrix, part in self.parts:
                part.param_groups = [g for g in self.param_groups if g["matrix"] is matrix]
                part.state = self.state
                part.step()

    return Both([group.to_torch(matrix=group.matrix) for group in groups])


OPTIMIZER = Optimizer(
    "muon",
    "Orthogonalized momentum, AdamW beside it",
    "Jordan et al. 2024; Liu et al. 2025, arXiv:2502.16982",
    _make,
    # AdamW's for what is no matrix; of matrices one moment.
    state=8,
    temporaries=4,
    matrices=True,
)
