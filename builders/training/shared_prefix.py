"""Several sequences in one row: whether a model computes them there as it computes them alone.

Instruction rows begin with the same system prompt and template. A micro batch becomes one sequence,
the shared tokens followed by each row's own; a row's tokens see the shared ones and their own past,
and keep the positions they have alone. Loss and gradients are those of the padded batch up to
rounding: a row's hidden states depend on nothing else, and in the shared part the gradients of the
rows add up. There is no padding in it either. (In inference: Hydragen, Juravsky et al. 2024,
arXiv:2402.05099.) Packed rows stand end to end. The layouts are in `builders/objectives/batch.py`.

A model may take no mask of its own, no positions, or mix neighbours by something else than
attention: it is asked rather than looked up. What it is asked is exact, whatever the precision: a
sequence's scores must not move when another one's tokens change.

Invariant: no shared token has a label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from adapterworks.builders.data.prefix import common_prefix
from adapterworks.builders.objectives.batch import (
    Batch,
    TokenSequence,
    behind_shared,
    packed,
    packed_rows,
    padded,
)
from adapterworks.builders.objectives.scores import Scores
from adapterworks.builders.objectives.scoring import Projection, score, score_behind_shared

# Largest difference of a token's log-probability between both ways of computing it, by precision,
# over 1 + its size.
_TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2, "fp16": 1e-2}
# How far another sequence's tokens may move it: a masked key has a share of exactly 0, so by
# nothing but the order in which a kernel adds; of experts, which tokens are computed together.
_LEAK = {"fp32": 1e-5, "bf16": 1e-2, "fp16": 2e-3}


def computes_alike(
    model: nn.Module,
    sequences: Sequence[TokenSequence],
    *,
    pad: int,
    precision: str,
    virtual_tokens: int = 0,
    packing: bool = False,
    sizes: Sequence[int] = (),
    projection: Projection | None = None,
) -> bool:
    """Whether this model scores sequences alike in one row and side by side, token for token.

    Costs three forward passes, and leaves the model's mode and the random generators as they were:
    a training that is resumed asks again.

    Args:
        packing: asked of rows end to end, not of rows behind what they share.
        sizes: with `packing`, how many sequences a row has; all are in one, if not given.
        projection: the model's, as `score` takes it.
    """
    device = next(model.parameters()).device
    layout: Callable[[Sequence[TokenSequence]], Batch] = packed if packing else behind_shared
    if packing and sizes:
        layout = partial(packed_rows, sizes=sizes, pad=pad)

    def together(given: Sequence[TokenSequence]) -> Scores:
        batch = layout(given).to(device)
        scores = score if packing else score_behind_shared
        return scores(model, batch, projection=projection)

    with torch.no_grad(), undisturbed(model, device):
        batch = padded(sequences, pad).to(device)
        apart = score(model, batch, virtual_tokens, projection=projection)
        try:
            found = together(sequences)
            moved = together(_another_first(sequences))
        except (TypeError, ValueError, RuntimeError):
            return False
    order = torch.argsort(apart.owners, stable=True)
    expected = apart.logprobs[order].double()
    got = found.logprobs[torch.argsort(found.owners, stable=True)].double()
    if expected.shape != got.shape:
        return False
    if not bool(((got - expected).abs() <= _TOLERANCE[precision] * (1 + expected.abs())).all()):
        return False
    others = found.owners != 0
    before, after = found.logprobs[others].double(), moved.logprobs[moved.owners != 0].double()
    return bool(((after - before).abs() <= _LEAK[precision] * (1 + before.abs())).all())


def _another_first(sequences: Sequence[TokenSequence]) -> list[TokenSequence]:
    """The sequences with other tokens in the first one, but for what all of them share: its first
    own token, which tells it from the others, over and over."""
    shared = common_prefix(
        [sequence.input_ids.tolist() for sequence in sequences],
        [sequence.labels.tolist() for sequence in sequences],
    )
    first = sequences[0]
    ids = first.input_ids.clone()
    ids[shared + 1 :] = ids[shared].clone()
    return [replace(first, input_ids=ids), *sequences[1:]]


@contextmanager
def undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Without dropout, which would differ between the passes; nothing is left changed."""
    training = {module: module.training for module in model.modules()}
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        model.eval()
        try:
            yield
        finally:
            for module, was in training.items():
                module.training = was
