"""How a training computes its attention: what `train.attention` comes to for a base on a machine.

Invariant: pure, but for asking whether a package is installed; what is refused says why, and what
would do instead. All that is let through compute the same function, in another order of addition.
"""

from __future__ import annotations

from importlib.util import find_spec

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.plan.machine import Machine, Precision
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest
from adapterworks.registry.bases.causal_lm import EAGER, FLASH, FLEX, SDPA

AUTO = "auto"
# The widest head that FlashAttention 2 has a kernel for.
_WIDEST = 256
_LEAVE = 'use `attention = "auto"`'


def attention_of(manifest: Manifest, shape: BaseShape) -> str:
    """The implementation that computes this training's attention."""
    asked = manifest.train.attention
    return _own(shape) if asked == AUTO else asked


def chosen_attention(manifest: Manifest, shape: BaseShape) -> str:
    """The same where it is another one than the base is loaded with; else empty."""
    found = attention_of(manifest, shape)
    return "" if found == _own(shape) else found


def _own(shape: BaseShape) -> str:
    return EAGER if shape.eager else shape.attentions[0]


def check_attention(
    manifest: Manifest, shape: BaseShape, machine: Machine, precision: Precision
) -> None:
    """Refuse what this base, this machine or this precision cannot do.

    Raises:
        InvalidInput: it cannot.
    """
    asked = manifest.train.attention
    if asked == AUTO:
        return
    what = f"`train.attention` `{asked}`"
    if asked not in shape.attentions:
        known = ", ".join(f"`{name}`" for name in shape.attentions)
        why = "passes over the cap of this base's scores, which the engine computes"
        if not (shape.capped and asked == SDPA):
            why = f"is nothing that a base of type `{shape.architecture}` can compute"
        raise InvalidInput(f"{what} {why}", hint=f"it can compute {known}; {_LEAVE}")
    if asked in (FLASH, FLEX) and machine.device == "cpu":
        raise InvalidInput(
            f"{what} needs a CUDA device: on a CPU it has no backward pass",
            hint=f'{_LEAVE} or `"sdpa"` on this machine',
        )
    if asked == FLASH:
        _check_flash(what, shape, machine, precision)
    if asked == FLEX and shape.dropout:
        raise InvalidInput(
            f"{what} knows no dropout, and this base has some of its own",
            hint=f'{_LEAVE} or `"sdpa"`',
        )


def _check_flash(what: str, shape: BaseShape, machine: Machine, precision: Precision) -> None:
    if machine.precision == "fp16":
        raise InvalidInput(
            f"{what} needs a GPU since Ampere, and `{machine.name}` is older", hint=_LEAVE
        )
    if precision == "fp32":
        raise InvalidInput(
            f"{what} computes in half precision alone, and this training's is `fp32`",
            hint=f'set `train.precision = "bf16"`, or {_LEAVE}',
        )
    if shape.head_dim > _WIDEST:
        raise InvalidInput(
            f"{what} has no kernel for heads of {shape.head_dim} numbers, only up to {_WIDEST}",
            hint=_LEAVE,
        )
    if find_spec("flash_attn") is None:
        raise InvalidInput(
            f"{what} needs the package `flash-attn`, which is not installed",
            hint=f"pip install flash-attn --no-build-isolation, or {_LEAVE}",
        )
