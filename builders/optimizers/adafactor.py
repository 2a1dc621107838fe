"""Adafactor: second moments as sums of rows and columns, no first moments.

As `transformers.TrainingArguments(optim="adafactor")` has it: the learning rate is the schedule's
(no relative step, no scaling by the parameters' size), updates are clipped at 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapterworks.builders.optimizers.optimizer import Group, Optimizer

if TYPE_CHECKING:
    import torch


def _make(groups: list[Group], rate: float, decay: float) -> torch.optim.Optimizer:
    from transformers.optimization import Adafactor

    made: torch.optim.Optimizer = Adafactor(
        [group.to_torch() for group in groups],
        lr=rate,
        weight_decay=decay,
        scale_parameter=False,
        relative_step=False,
    )
    return made


OPTIMIZER = Optimizer(
    "adafactor",
    "Factored second moments",
    "Shazeer & Stern 2018, arXiv:1804.04235",
    _make,
    # A row's and a column's sum: of a factor of rank 8, an eighth of its numbers.
    state=0.5,
    temporaries=4,
)
