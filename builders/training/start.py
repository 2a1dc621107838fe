"""Where a training begins: a new adapter, or the weights of a release.

Invariant: every tensor of the release is in the model afterwards, and nothing else was moved; what
does not fit to the last name and shape is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from adapterworks.manifests.errors import Refused

Grown = Callable[
    [Mapping[str, torch.Tensor], Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]
]
_WEIGHTS = "adapter_model.safetensors"


def continue_from(model: nn.Module, folder: Path, grown: Grown | None = None) -> None:
    """Put a release's adapter into a model that has a new one of the same shapes.

    Args:
        folder: the release's `adapter/`.
        grown: makes what the new adapter begins with of the release's tensors and the new ones,
            where that is more than they are.

    Raises:
        Refused: names or shapes differ.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    given: Mapping[str, torch.Tensor] = load_file(folder / _WEIGHTS)
    new = get_peft_model_state_dict(model)
    if grown is not None:
        given = grown(given, new)
    shapes = {name: tuple(tensor.shape) for name, tensor in new.items()}
    if shapes != (found := {name: tuple(tensor.shape) for name, tensor in given.items()}):
        odd = sorted(name for name in {*shapes, *found} if shapes.get(name) != found.get(name))
        raise Refused(
            f"the release that is continued has other weights: {odd[0]} is "
            f"{found.get(odd[0], 'missing')}, the new adapter's is {shapes.get(odd[0], 'missing')}",
            hint="declare the `[method]` that it was trained with",
        )
    set_peft_model_state_dict(model, dict(given))
    for name, tensor in get_peft_model_state_dict(model).items():
        if not torch.equal(tensor.cpu().float(), given[name].float()):
            raise Refused(f"`{name}` of the release that is continued did not reach the model")
