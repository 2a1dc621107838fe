"""Rows that begin alike: the tokens they share are computed once a micro batch, not once a row.

Instruction rows begin with the same system prompt and template. A micro batch becomes one sequence,
the shared tokens followed by each row's own; a row's tokens see the shared ones and their own past,
and keep the positions they have alone. Loss and gradients are those of the padded batch up to
rounding: a row's hidden states depend on nothing else, and in the shared part the gradients of the
rows add up. There is no padding in it either. (In inference: Hydragen, Juravsky et al. 2024,
arXiv:2402.05099.)

Invariant: no shared token has a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from adapterworks.builders.data.prefix import common_prefix
from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.methods.prompt_cache import has_soft_prompt, prompt_cache
from adapterworks.builders.training.arithmetic import token_losses
from adapterworks.builders.training.batches import Batch, EncodedSet, collate

# Relative difference of a micro batch's loss between both ways of computing it, by precision.
_TOLERANCE = {"fp32": 1e-4, "bf16": 2e-2, "fp16": 1e-2}


def collate_shared(rows: EncodedSet, indices: Sequence[int]) -> Batch:
    """One micro batch as one sequence of shared + Σ own tokens.

    Returns:
        `attention_mask` is boolean [1, 1, length, length], True where a token sees another.
    """
    ids = [rows.input_ids[index] for index in indices]
    labels = [rows.labels[index] for index in indices]
    shared = common_prefix([row.tolist() for row in ids], [row.tolist() for row in labels])
    own = [row[shared:] for row in ids]
    learnt = [label[shared:].clone() for label in labels]
    for label in learnt:
        # What stands before it in the sequence is the end of another row.
        label[0] = IGNORED
    # Group 0 is the shared part, which every group sees.
    groups = torch.cat(
        [torch.zeros(shared, dtype=torch.long)]
        + [torch.full((len(row),), number) for number, row in enumerate(own, start=1)]
    )
    past = torch.ones(len(groups), len(groups), dtype=torch.bool).tril()
    seen = past & ((groups[None, :] == groups[:, None]) | (groups[None, :] == 0))
    positions = [torch.arange(shared), *(torch.arange(shared, shared + len(row)) for row in own)]
    return Batch(
        torch.cat([ids[0][:shared], *own])[None],
        torch.cat([torch.full((shared,), IGNORED), *learnt])[None],
        seen[None, None],
        torch.cat(positions)[None],
    )


def shared_losses(
    model: nn.Module, rows: EncodedSet, indices: Sequence[int]
) -> tuple[torch.Tensor, int]:
    """What `token_losses` gives for the padded micro batch.

    A soft prompt is the first thing that rows share: its keys and values are there once, too.
    """
    batch = collate_shared(rows, indices).to(next(model.parameters()).device)
    called = partial(_behind_prompt, model) if has_soft_prompt(model) else model
    return token_losses(called, batch, 0)


def _behind_prompt(
    model: Any, attention_mask: torch.Tensor, position_ids: torch.Tensor, **inputs: Any
) -> Any:
    """The base behind a soft prompt's cache; PEFT's own forward takes masks of two dimensions."""
    cache, virtual = prompt_cache(model, 1)
    everywhere = attention_mask.new_ones(1, 1, attention_mask.shape[2], virtual)
    return model.get_base_model()(
        attention_mask=torch.cat((everywhere, attention_mask), dim=-1),
        position_ids=position_ids + virtual,
        past_key_values=cache,
        **inputs,
    )


def computes_alike(
    model: nn.Module,
    rows: EncodedSet,
    indices: Sequence[int],
    *,
    pad: int,
    precision: str,
    virtual_tokens: int = 0,
) -> bool:
    """Whether this model gives a micro batch the same loss both ways.

    A model may take no mask of its own (another attention kernel, a sliding window, no positions);
    it is asked rather than looked up. Costs two forward passes.
    """
    device = next(model.parameters()).device
    batch = collate(rows, indices, pad=pad, packed=False).to(device)
    with torch.no_grad():
        padded = float(token_losses(model, batch, virtual_tokens)[0])
        try:
            shared = float(shared_losses(model, rows, indices)[0])
        except (TypeError, ValueError, RuntimeError):
            return False
    return abs(padded - shared) <= _TOLERANCE[precision] * max(1.0, abs(padded))
