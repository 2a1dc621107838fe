"""Quantization-aware training: in every forward pass the weights are rounded as an export rounds
them, and gradients pass through the rounding as if it were none (Bengio et al. 2013, "straight
through"; Jacob et al. 2018 for training so).

The grid is GGUF's, blocks of 32 numbers of a row with one half-precision scale each: `int8` is
`q8_0`, `int4` is `q4_0`, and with both the embeddings and the output projection have eight bits, as
the files have (`exports/gguf/types.py`). A LoRA is rounded together with its base, W + s·B·A, since
it is exported so; rows that are no whole blocks stay as they are, as they do in the file.

Invariant: what is trained and saved is not rounded; only what a forward pass multiplies by is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

BLOCK = 32
Rounding = Callable[[torch.Tensor], torch.Tensor]


def q8_0(weight: torch.Tensor) -> torch.Tensor:
    """[rows, columns] float → the same as `q8_0` holds it: level·d, d = max|w|/127 in half."""
    blocks = weight.detach().float().reshape(-1, BLOCK)
    scale = blocks.abs().amax(1, keepdim=True) / 127
    scaled = blocks * _inverse(scale)
    levels = scaled.sign() * (scaled.abs() + 0.5).floor()  # halves away from zero
    return (levels * scale.half().float()).reshape(weight.shape)


def q4_0(weight: torch.Tensor) -> torch.Tensor:
    """[rows, columns] float → the same as `q4_0` holds it: (level − 8)·d, the number of the largest
    size of a block at level 0."""
    blocks = weight.detach().float().reshape(-1, BLOCK)
    largest = blocks.gather(1, blocks.abs().argmax(1, keepdim=True))
    scale = largest / -8
    levels = (blocks.double() * _inverse(scale).double() + 8.5).trunc().clamp(0, 15) - 8
    return (levels.float() * scale.half().float()).reshape(weight.shape)


ROUNDINGS: dict[str, Rounding] = {"int8": q8_0, "int4": q4_0}


def round_weights(model: nn.Module, kind: str | None) -> None:
    """Make a model compute with rounded weights from now on.

    Args:
        model: base and method; its trained parameters stay as they are.
        kind: of `ROUNDINGS`; None leaves the model alone.
    """
    if kind is None:
        return
    whole: Any = model
    ends = {id(whole.get_input_embeddings()), id(whole.get_output_embeddings())}
    inside: set[int] = set()
    done: set[int] = set()
    for module in model.modules():
        if id(module) in inside:
            continue
        rounding = ROUNDINGS["int8" if id(module) in ends else kind]
        if _is_lora(module):
            inside |= {id(part) for part in module.modules()}
            _replace(module, _adapted(module, rounding))
        elif isinstance(module, nn.Linear | nn.Embedding) and _fits(module.weight):
            if module.weight.requires_grad:
                _replace(module, _trained(module, rounding))
            elif id(module.weight) not in done:  # embeddings may be the output's weights too
                done.add(id(module.weight))
                module.weight.data = rounding(module.weight).to(module.weight.dtype)


def through(weight: torch.Tensor, rounding: Rounding) -> torch.Tensor:
    """The rounded weight, whose gradient is the weight's own."""
    return weight + (rounding(weight) - weight).detach()


def _is_lora(module: Any) -> bool:
    """One of PEFT's layers around a linear of the base."""
    return hasattr(module, "get_delta_weight") and isinstance(
        getattr(module, "base_layer", None), nn.Linear
    )


def _adapted(layer: Any, rounding: Rounding) -> Callable[..., torch.Tensor]:
    linear = layer.base_layer

    def forward(given: torch.Tensor, *others: Any, **options: Any) -> torch.Tensor:
        weight = linear.weight
        if not layer.disable_adapters:
            for name in layer.active_adapters:
                weight = weight + layer.get_delta_weight(name)
        if _fits(weight):
            weight = through(weight, rounding)
        return functional.linear(given, weight.to(given.dtype), linear.bias)

    return forward


def _trained(module: Any, rounding: Rounding) -> Callable[..., torch.Tensor]:
    def linear(given: torch.Tensor) -> torch.Tensor:
        weight = through(module.weight, rounding)
        return functional.linear(given, weight.to(given.dtype), module.bias)

    def embedding(ids: torch.Tensor) -> torch.Tensor:
        found = functional.embedding(ids, through(module.weight, rounding), module.padding_idx)
        scale = getattr(module, "embed_scale", None)  # of Gemma's embeddings
        return found if scale is None else found * scale

    return embedding if isinstance(module, nn.Embedding) else linear


def _replace(module: Any, forward: Callable[..., torch.Tensor]) -> None:
    module.forward = forward


def _fits(weight: torch.Tensor) -> bool:
    return weight.dim() == 2 and weight.shape[1] % BLOCK == 0


def _inverse(scale: torch.Tensor) -> torch.Tensor:
    """1/scale, and 0 for a block of zeros."""
    return torch.where(scale == 0, torch.zeros_like(scale), 1 / scale)
