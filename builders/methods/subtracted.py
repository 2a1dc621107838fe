"""A start in the base's own directions, subtracted from its linears' outputs, not from its weights.

PiSSA and OLoRA begin with factors s·B₀·A₀ of W and train beside W − s·B₀·A₀. Here a linear gives

    W·x + s·(B·A·x − B₀·A₀·x)

which is the same function, with W as it is. Rounded to half precision, W − s·B₀·A₀ would be another
matrix than W less the start (by 2⁻⁹ of W, a good part of what is learnt), and training would learn
to make up for it, while the release is served on W.

Invariant: before the first step both products are computed alike, so their difference is 0 to the
bit and the model is the base; with the adapter switched off it always is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

_A, _B = "taken_out_A", "taken_out_B"


def subtract_start(model: nn.Module, begin: Callable[[Any], None]) -> None:
    """Let each LoRA layer start as an init sets it, and keep its weight as it is.

    Args:
        model: PEFT's, with one adapter.
        begin: sets a layer's factors, and may change its weight.
    """
    from torch import nn

    for _, layer in _layers(model):
        base = layer.get_base_layer()
        held = base.weight.data
        # A start is in no checkpoint: it is drawn anew at each resume, whatever the training is on
        # then, so always with this generator and this arithmetic.
        base.weight.data = held.to("cpu", copy=True)
        begin(layer)
        base.weight.data = held
        for name, factor in ((_A, layer.lora_A), (_B, layer.lora_B)):
            begun = factor["default"].weight
            begun.data = begun.data.to(held.device)
            start = begun.detach().float().clone()
            layer.register_parameter(name, nn.Parameter(start, requires_grad=False))
        layer.lora_variant["default"] = _Subtracted()
        layer.get_delta_weight = partial(_delta, layer, layer.get_delta_weight)


def subtracted_start(model: nn.Module) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """A₀ and B₀ of each module by its name in PEFT's model; empty if nothing is subtracted."""
    return {
        name: (getattr(layer, _A).detach().cpu().float(), getattr(layer, _B).detach().cpu().float())
        for name, layer in _layers(model)
        if hasattr(layer, _A)
    }


class _Subtracted:
    """PEFT's `LoraVariant`: what takes the place of B·A·x."""

    def supports_lora_conversion(self) -> bool:
        return True

    @staticmethod
    def forward(
        module: Any, active_adapter: str, x: torch.Tensor, result: torch.Tensor, **_: Any
    ) -> torch.Tensor:
        """W·x + s·(B·A·x − B₀·A₀·x); dropout is before A alone, as nothing of W is dropped."""
        from torch.nn.functional import linear

        a, b = module.lora_A[active_adapter], module.lora_B[active_adapter]
        learnt = b(a(module.lora_dropout[active_adapter](x)))
        begun = linear(linear(x, getattr(module, _A)), getattr(module, _B))
        given: torch.Tensor = result + (learnt - begun) * module.scaling[active_adapter]
        return given

    @staticmethod
    def merge_safe(module: Any, active_adapter: str, orig_weight: torch.Tensor) -> torch.Tensor:
        merged: torch.Tensor = orig_weight + module.get_delta_weight(active_adapter)
        return merged

    @staticmethod
    def merge_unsafe(module: Any, active_adapter: str, orig_weight: torch.Tensor) -> None:
        orig_weight.data += module.get_delta_weight(active_adapter)

    @staticmethod
    def unmerge(module: Any, active_adapter: str, orig_weight: torch.Tensor) -> torch.Tensor:
        alone: torch.Tensor = orig_weight - module.get_delta_weight(active_adapter)
        return alone


def _delta(layer: Any, product: Callable[[str], torch.Tensor], adapter: str) -> torch.Tensor:
    """s·(B·A − B₀·A₀), of the weight's shape and PEFT's dtype."""
    whole = product(adapter)
    begun = getattr(layer, _B) @ getattr(layer, _A) * layer.scaling[adapter]
    begun = begun.T if layer.fan_in_fan_out else begun
    return whole - begun.to(whole.dtype)


def _layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield name, module
