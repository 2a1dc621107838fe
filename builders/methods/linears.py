"""The linears of a base: its weight matrices, by name, and which of them a method's table selects.

Invariant: what is selected here is what PEFT selects by the same keys, so that a plan counts what
will be trained.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

ALL_LINEAR = "all-linear"
# What PEFT takes for experts in a base that has some, by the last part of a name, which dense
# layers have, too.
_OF_EXPERTS = frozenset({"gate_proj", "up_proj", "down_proj", "gate", "w1", "w2", "w3"})


@dataclass(frozen=True, slots=True)
class Linear:
    """One weight matrix of shape [out_features, in_features]; `name` is the module's.

    `transposed`: the checkpoint holds it as [in_features, out_features] (GPT-2's `Conv1D`).
    """

    name: str
    out_features: int
    in_features: int
    transposed: bool = False

    @property
    def leaf(self) -> str:
        """The last part of the name, what `target_modules` lists (`q_proj`)."""
        return self.name.rsplit(".", 1)[-1]


def select(
    linears: tuple[Linear, ...],
    targets: str | tuple[str, ...],
    exclude: str | tuple[str, ...] = (),
    layers: tuple[int, ...] | None = None,
) -> tuple[Linear, ...]:
    """Those of some linears that a method's table selects, as PEFT selects by the same keys."""
    return tuple(
        linear
        for linear in linears
        if (targets == ALL_LINEAR or selected_by(linear.name, targets))
        and not selected_by(linear.name, exclude)
        and (layers is None or layer_of(linear.name) in layers)
    )


def selected_by(name: str, words: str | tuple[str, ...]) -> bool:
    """Whether a module's name ends with one of several words, part by part, or matches a regular
    expression from end to end."""
    if isinstance(words, str):
        return bool(words) and re.fullmatch(words, name) is not None
    return any(name == word or name.endswith(f".{word}") for word in words)


def layer_of(name: str) -> int | None:
    """The number of the layer that a module is in (`model.layers.3.mlp.up_proj`: 3)."""
    return next((int(part) for part in name.split(".") if part.isdecimal()), None)


def adapted_linears(model: nn.Module) -> tuple[Linear, ...]:
    """The matrices of a model that `target_modules = "all-linear"` means, by name.

    Left out are the output projection, as PEFT does; the modules whose names are those of experts,
    as there PEFT adapts fused tensors that no engine takes a LoRA for; and what text does not pass
    through, as an image's tower: rows are text, and it would never get a gradient.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    output, text = model.get_output_embeddings(), set(model.get_decoder().modules())
    skipped = _OF_EXPERTS if has_experts(model) else frozenset()
    found = []
    for name, module in sorted(model.named_modules()):
        if module is output or module not in text or name.rsplit(".", 1)[-1] in skipped:
            continue
        if isinstance(module, Conv1D):
            found.append(Linear(name, module.weight.shape[1], module.weight.shape[0], True))
        elif isinstance(module, nn.Linear):
            found.append(Linear(name, module.out_features, module.in_features))
    return tuple(found)


def of_text(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that text passes through, each once: the decoder, and what is before and after
    it. Of a base that takes images or sound too (Gemma 3 from 4B on), their towers are not among
    them."""
    ends = (model.get_input_embeddings(), model.get_decoder(), model.get_output_embeddings())
    found = (
        parameter for module in ends if module is not None for parameter in module.parameters()
    )
    return list(dict.fromkeys(found))


def takes_text_alone(model: nn.Module) -> bool:
    """Whether a model is a text decoder and nothing beside it."""
    return len(of_text(model)) == len(list(model.parameters()))


def has_experts(model: nn.Module) -> bool:
    """Whether it has mixtures of experts."""
    return any("experts" in name.split(".") for name, _ in model.named_modules())
