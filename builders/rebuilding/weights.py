"""How far two sets of weights are from each other.

Invariant: computed tensor by tensor in float64, so that a model of any size is compared in the
memory of its largest tensor.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterworks.manifests.errors import IntegrityError


@dataclass(frozen=True, slots=True)
class Distance:
    """The second set's distance from the first.

    Attributes:
        tensors: number of tensors.
        parameters: number of values.
        bit_equal: every tensor has the same type and the same bytes.
        largest: largest absolute difference of one value.
        relative: ‖second − first‖ / ‖first‖, Frobenius over all tensors together.
    """

    tensors: int
    parameters: int
    bit_equal: bool
    largest: float
    relative: float


def distance(first: Path, second: Path) -> Distance:
    """Compare the safetensors files of two folders.

    Raises:
        IntegrityError: they do not hold tensors of the same names and shapes.
    """
    import torch

    with ExitStack() as stack:
        one, other = _tensors(first, stack), _tensors(second, stack)
        if only := sorted(set(one) ^ set(other)):
            raise IntegrityError(
                f"{len(only)} tensors are in one of the two only, such as `{only[0]}`",
                hint="the method's code has changed since; compare `adapters diff`",
            )
        bit_equal, parameters, largest, norm, apart = True, 0, 0.0, 0.0, 0.0
        for name in sorted(one):
            a, b = one[name].get_tensor(name), other[name].get_tensor(name)
            if a.shape != b.shape:
                raise IntegrityError(
                    f"tensor `{name}` has shape {list(a.shape)} in one and {list(b.shape)} in the "
                    "other",
                    hint="the method's code has changed since; compare `adapters diff`",
                )
            bit_equal = bit_equal and a.dtype == b.dtype and bool(torch.equal(_bits(a), _bits(b)))
            delta = b.double() - a.double()
            parameters += a.numel()
            largest = max(largest, float(delta.abs().max()) if a.numel() else 0.0)
            norm += float(a.double().square().sum())
            apart += float(delta.square().sum())
    relative = math.sqrt(apart / norm) if norm else (math.inf if apart else 0.0)
    return Distance(len(one), parameters, bit_equal, largest, relative)


def _tensors(folder: Path, stack: ExitStack) -> dict[str, Any]:
    """Tensor name → the open file that holds it."""
    from safetensors import safe_open

    found: dict[str, Any] = {}
    for path in sorted(folder.glob("*.safetensors")):
        file = stack.enter_context(safe_open(path, framework="pt"))
        found |= dict.fromkeys(file.keys(), file)
    return found


def _bits(tensor: Any) -> Any:
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8)
