"""A value head: what reward is still to come, read from the last hidden state before each token.

Invariant: it is a part of the model while that is trained, so optimizer, checkpoints and resume
hold it as they hold the adapter; it is never written into one. It begins with zero and draws no
random number, so a policy begins as it does without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from adapterworks.manifests.errors import Refused

_NAME = "value_head"


class ValueHead(nn.Module):
    """V = w·h + b.

    Args:
        width: numbers of h.
        times: its learning rate, as a multiple of the policy's.
    """

    def __init__(self, width: int, times: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(1))
        self.times = times

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """[tokens, width] → [tokens], in float32 under autocast too."""
        return (hidden.float() * self.weight).sum(dim=-1) + self.bias


def attach_value_head(model: Any, times: float) -> ValueHead:
    """Give a model a value head; `times` as there.

    Raises:
        Refused: it has no output projection.
    """
    projection = model.get_output_embeddings()
    if projection is None:
        raise Refused(
            "this base has no output projection, so there is no hidden state to read values from",
            hint="use `grpo` or `rloo`, which need no value head",
        )
    head = ValueHead(projection.in_features, times)
    model.add_module(_NAME, head.to(next(model.parameters()).device))
    return head


def head_rates(model: nn.Module) -> dict[str, float]:
    """What the learning rate is multiplied by, by the head's parameters' names; empty without."""
    head = dict(model.named_children()).get(_NAME)
    if not isinstance(head, ValueHead):
        return {}
    return {f"{_NAME}.{name}": head.times for name, _ in head.named_parameters()}


@contextmanager
def without_value_head(model: nn.Module) -> Iterator[None]:
    """The model without it, to be written as an adapter."""
    head = dict(model.named_children()).get(_NAME)
    if not isinstance(head, ValueHead):
        yield
        return
    delattr(model, _NAME)
    try:
        yield
    finally:
        model.add_module(_NAME, head)
