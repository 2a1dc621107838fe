"""Memory of attention that grows with the square of a row: masks, and scores where they are kept.

Invariant: pure arithmetic in bytes. A mask is made once for each kind of layer (those that see a
window, those that see all), as booleans; `sdpa` makes numbers of it anew in every layer, and
autograd keeps them until the backward pass. Rows of one length have none (torch is told `causal`),
but for layers whose window is shorter than they are. FlashAttention and FlexAttention keep none.
"""

from __future__ import annotations

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.plan.attention import attention_of
from adapterworks.builders.plan.load import Load
from adapterworks.manifests.models import Manifest
from adapterworks.registry.bases.causal_lm import EAGER, FLASH, FLEX


def masks(manifest: Manifest, shape: BaseShape, load: Load, width: int) -> int:
    """Bytes of who sees whom.

    Args:
        load: the micro batch.
        width: bytes of an activation.
    """
    attention = attention_of(manifest, shape)
    if attention in (FLASH, FLEX):
        return 0
    longest = load.mask or load.tokens // load.prompts
    windowed = shape.window is not None and longest >= shape.window
    sliding = shape.sliding if load.mask or windowed else 0
    everywhere = shape.layers - shape.sliding if load.mask else 0
    kinds, square = (sliding > 0) + (everywhere > 0), _rows(load) * longest**2
    if attention == EAGER:
        return kinds * square * (1 + width)
    at_once = 1 if manifest.train.gradient_checkpointing else sliding + everywhere
    return kinds and square * (kinds + at_once * width)


def scores(manifest: Manifest, shape: BaseShape, load: Load, width: int) -> int:
    """Bytes of attention scores, where all of them are computed (`eager`), of each pair of a row's
    positions and each head: in every layer the softmax in float32 and, in half precision, what it
    is cast to, which autograd keeps; and in one layer the scores, and they again when scaled.

    A base that knows no other attention keeps more: a soft cap its hyperbolic tangent, sinks what
    they are cut from. The scores of every layer are counted for that.
    """
    if attention_of(manifest, shape) != EAGER:
        return 0
    longest = load.mask or load.tokens // load.prompts
    layers = 1 if manifest.train.gradient_checkpointing else shape.layers
    pairs = shape.heads * _rows(load) * longest**2
    if shape.eager:
        return layers * pairs * (2 * width + 4)
    return pairs * (layers * (4 + (width if width < 4 else 0)) + 2 * width)


def _rows(load: Load) -> int:
    return load.masks if load.mask else load.prompts
