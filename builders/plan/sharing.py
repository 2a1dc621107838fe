"""Whether what all rows begin with, or the answers to one prompt, is computed once a micro batch.

Invariant: pure arithmetic; that a model computes the same both ways is asked of it before the first
step (`builders/training/shared_prefix.py`).
"""

from __future__ import annotations

from typing import Any

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import Technique
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.plan.attention import attention_of
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.manifests.models import Manifest
from adapterworks.registry.bases.causal_lm import SDPA

# A core or a GPU multiplies some twenty times in the time in which it moves a number.
_TOUCHED = 20


def can_share(
    manifest: Manifest, technique: Technique[Any], shape: BaseShape, longest: int
) -> bool:
    """Whether `train.share_prefix` can be had.

    Dropout would draw one mask for all rows, NEFTune one noise, and a soft prompt's cache cannot be
    there while activations are recomputed. A mask from outside takes the place of a window's, and
    hides nothing from layers that mix neighbours by something else; of the implementations of
    attention, `sdpa` alone reads it as what it is, who sees whom.

    Args:
        longest: tokens of the longest sequence.
    """
    own = bool(shape.mixes) or (shape.window is not None and longest > shape.window)
    train = manifest.train
    dropout = getattr(manifest.method, "dropout", 0.0) or train.neftune_alpha is not None
    recomputed = technique.soft_prompt and train.gradient_checkpointing
    masked = attention_of(manifest, shape) == SDPA
    return train.share_prefix and masked and not (train.packing or recomputed or dropout or own)


def beginnings(manifest: Manifest, data: DataFacts) -> list[tuple[int, int]]:
    """What micro batches may be asked to have in common, the most first: tokens, and of how many
    answers to one prompt a micro batch is an equal part (1 where it may be of any rows).

    The last token of a prompt is each answer's own: it predicts the answer's first.
    """
    group, fixed = objective_of(manifest).behind_one_prompt, manifest.train.micro_batch_size
    found = []
    if group > 1 and (fixed is None or group % fixed == 0):
        prompts = (all_ - own for all_, own in zip(data.lengths, data.supervised, strict=True))
        found.append((min(prompts) - 1, group))
    found.append((data.shared, 1))
    return [one for one in found if one[0] > 0]


def sharing_pays(shape: BaseShape, data: DataFacts, micro: int) -> bool:
    """Whether computing the shared tokens once saves more than one long row costs.

    Saved is all but attention for all but one copy of the shared tokens: the matrices' products,
    and what norms, rotations and activations touch, which memory bounds (`_TOUCHED` operations a
    number). What is paid is attention: B rows of T tokens are B·T² pairs, one row of L tokens L².
    """
    rows = micro * data.sequences
    mean = sum(data.lengths) / (len(data.lengths) * data.sequences)
    row = data.shared + rows * max(0.0, mean - data.shared)
    touched = shape.layers * (4 * shape.hidden + 4 * shape.heads * shape.head_dim)
    touched += shape.layers * 3 * shape.intermediate
    token = 2 * shape.linear_parameters + _TOUCHED * touched
    pair = 4 * shape.layers * shape.heads * shape.head_dim
    return token * (rows - 1) * data.shared > pair * (row**2 - rows * mean**2)
