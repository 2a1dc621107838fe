"""Rows that begin alike: the tokens they share are computed once a micro batch, not once a row.

Instruction rows begin with the same system prompt and template. A micro batch becomes one sequence,
the shared tokens followed by each row's own; a row's tokens see the shared ones and their own past,
and keep the positions they have alone. Loss and gradients are those of the padded batch up to
rounding: a row's hidden states depend on nothing else, and in the shared part the gradients of the
rows add up. There is no padding in it either. (In inference: Hydragen, Juravsky et al. 2024,
arXiv:2402.05099.) The layout is `behind_shared` in `builders/objectives/batch.py`.

Invariant: no shared token has a label.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from adapterworks.builders.objectives.batch import TokenSequence, behind_shared, padded
from adapterworks.builders.objectives.scoring import score, score_behind_shared

# Relative difference of a micro batch's log-probability between both ways of computing it, by
# precision.
_TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2, "fp16": 1e-2}


def computes_alike(
    model: nn.Module,
    sequences: Sequence[TokenSequence],
    *,
    pad: int,
    precision: str,
    virtual_tokens: int = 0,
) -> bool:
    """Whether this model gives sequences the same log-probability both ways.

    A model may take no mask of its own (another attention kernel, a sliding window, no positions);
    it is asked rather than looked up. Costs two forward passes, and leaves the model's mode and the
    random generators as they were: a training that is resumed asks again.
    """
    device = next(model.parameters()).device
    with torch.no_grad(), _undisturbed(model, device):
        batch = padded(sequences, pad).to(device)
        apart = float(score(model, batch, virtual_tokens).logprobs.sum())
        try:
            shared = behind_shared(sequences).to(device)
            together = float(score_behind_shared(model, shared).logprobs.sum())
        except (TypeError, ValueError, RuntimeError):
            return False
    return abs(apart - together) <= _TOLERANCE[precision] * max(1.0, abs(apart))


@contextmanager
def _undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Without dropout, which would differ between the passes; nothing is left changed."""
    training = {module: module.training for module in model.modules()}
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        model.eval()
        try:
            yield
        finally:
            for module, was in training.items():
                module.training = was
