"""The arithmetic of training: loss, learning rate, divergence. No state but what is passed in.

Invariant: logits are computed only where a label is: the output projection over a large vocabulary
is a fifth of a small model's work, and most positions of a prompt have no label.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import nn

from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.training.batches import Batch


def token_losses(
    model: Callable[..., Any], batch: Batch, virtual_tokens: int
) -> tuple[torch.Tensor, int]:
    """Summed cross-entropy of a micro batch in nats, and the number of supervised tokens.

    Args:
        model: base or PEFT model, or what is called like one.
        batch: rows padded on the right, or one packed sequence.
        virtual_tokens: embeddings the model puts in front of the sequence (prompt tuning), else 0.
    """
    targets = batch.labels[:, 1:]
    columns = (targets != IGNORED).any(dim=0).nonzero().squeeze(-1)
    inputs: dict[str, Any] = {"input_ids": batch.input_ids, "use_cache": False}
    if batch.attention_mask is not None:
        inputs["attention_mask"] = batch.attention_mask
    if batch.position_ids is not None:
        inputs["position_ids"] = batch.position_ids
    logits = model(**inputs, logits_to_keep=columns + virtual_tokens).logits
    chosen = targets[:, columns]
    kept = chosen != IGNORED
    loss = nn.functional.cross_entropy(logits[kept].float(), chosen[kept], reduction="sum")
    return loss, int(kept.sum())


def learning_rate_at(
    step: int,
    steps: int,
    peak: float,
    warmup: int,
    schedule: Literal["cosine", "linear", "constant"],
) -> float:
    """The learning rate of optimizer step `step` (from 0): linear warm-up, then the schedule."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    if schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "linear":
        return peak * (1 - progress)
    return peak


class Divergence:
    """Watches the training loss; `message` says why to stop, or is None.

    A training has diverged when the smoothed loss is twice where it began plus one nat: no schedule
    comes back from there within a fine-tuning's few steps.
    """

    _FIRST = 5
    _DECAY = 0.8

    def __init__(self, first: list[float] | None = None, smoothed: float | None = None) -> None:
        self.first = first or []
        self.smoothed = smoothed

    def message(self, loss: float, gradient_norm: float) -> str | None:
        """Take in one step's loss and gradient norm."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(gradient_norm):
            return f"the gradient norm is {gradient_norm}"
        if len(self.first) < self._FIRST:
            self.first.append(loss)
        before = loss if self.smoothed is None else self.smoothed
        self.smoothed = self._DECAY * before + (1 - self._DECAY) * loss
        start = sum(self.first) / len(self.first)
        if len(self.first) == self._FIRST and self.smoothed > 2 * start + 1:
            return f"the loss rose from {start:.3g} to {self.smoothed:.3g}"
        return None
