"""An anchor: what is trained is held where it began, against forgetting.

    ½·λ·Σ Fᵢ·(θᵢ − θ*ᵢ)²         (Kirkpatrick et al. 2016, arXiv:1612.00796, eq. 3)

θ* is what the training begins with: the continued release's own numbers. With `l2` every number
counts the same (F = 1; Li et al. 2018, L2-SP); with `ewc` F is the diagonal of the empirical Fisher
information on rows that the release and those before it have learnt:

    Fᵢ = Σ over rows (∂ log p(answer | prompt) / ∂θᵢ)² / Σ over rows of the answer's tokens

so that ½·Σ F·(θ − θ*)² is, as far as a diagonal says it, by how many nats a token of those rows'
answers the model has moved: a λ of 1 weighs them as a nat of the loss.

Invariant: F is computed once, before the first step, and read back when the training is resumed; θ*
is built again from the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from adapterworks.builders.objectives.batch import padded
from adapterworks.builders.objectives.scoring import score
from adapterworks.builders.training.batches import EncodedSet
from adapterworks.builders.training.forward import Forward
from adapterworks.builders.training.value_head import head_rates
from adapterworks.manifests.train_table import AnchorTable

_FILE = "anchor.safetensors"


class Anchor:
    """Holds a model where it is now.

    Args:
        model: with the method attached, as the training begins.
        weight: λ.
        importance: F by the parameter's name; every number counts 1 where there is none.
    """

    def __init__(
        self, model: nn.Module, weight: float, importance: Mapping[str, torch.Tensor] | None
    ) -> None:
        self.weight = weight
        self._held = [
            (parameter, parameter.detach().clone(), _beside(importance, name, parameter))
            for name, parameter in anchored(model)
        ]

    def penalty(self) -> torch.Tensor:
        """What is added to the loss, in its own unit; differentiable."""
        sums = [
            ((parameter - began) ** 2 * (1.0 if weights is None else weights)).sum()
            for parameter, began, weights in self._held
        ]
        return 0.5 * self.weight * torch.stack(sums).sum()


def make_anchor(
    table: AnchorTable | None,
    rows: EncodedSet | None,
    forward: Forward,
    folder: Path,
    accelerator: Any,
) -> Anchor | None:
    """The anchor that the manifest asks for, where it does.

    Args:
        rows: what F is taken of, with `ewc`.
        forward: its model is that of before the first step.
        folder: keeps F for a training that is resumed.
    """
    if table is None:
        return None
    if rows is None:
        return Anchor(forward.bare, table.weight, None)
    path = folder / _FILE
    if path.exists():
        importance = load_file(path)
    else:
        importance = fisher(forward, rows)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{_FILE}.tmp")
            save_file({name: one.cpu() for name, one in importance.items()}, temporary)
            temporary.rename(path)
        accelerator.wait_for_everyone()
    return Anchor(forward.bare, table.weight, importance)


def fisher(forward: Forward, rows: EncodedSet) -> dict[str, torch.Tensor]:
    """F by the parameter's name: one row at a time, without dropout; nothing is left changed."""
    named = anchored(forward.bare)
    found = {name: torch.zeros_like(parameter) for name, parameter in named}
    modes = {module: module.training for module in forward.bare.modules()}
    forward.bare.eval()
    tokens = 0
    for index in range(len(rows)):
        batch = padded(rows.examples[index], forward.pad).to(forward.device)
        asked = (forward.model, batch, forward.virtual_tokens)
        scores = score(*asked, projection=forward.projection)
        tokens += len(scores.logprobs)
        gradients = torch.autograd.grad(
            scores.logprobs.sum(), [parameter for _, parameter in named], allow_unused=True
        )
        for (name, _), gradient in zip(named, gradients, strict=True):
            if gradient is not None:
                found[name] += gradient**2
    for module, was in modes.items():
        module.training = was
    return {name: total / tokens for name, total in found.items()}


def anchored(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """What is trained and stays: a value head begins with nothing, and is no part of a release."""
    head = head_rates(model)
    named = model.named_parameters()
    return [(name, one) for name, one in named if one.requires_grad and name not in head]


def _beside(
    importance: Mapping[str, torch.Tensor] | None, name: str, parameter: nn.Parameter
) -> torch.Tensor | None:
    return None if importance is None else importance[name].to(parameter.device)
