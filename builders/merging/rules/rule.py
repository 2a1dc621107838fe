"""What a merge rule is: what it combines, by which function, and which options it has.

PEFT's `LoraModel.add_weighted_adapter` calls `linear` on factors "a very rough approximation".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

# (tensors of one shape, one weight for each, share of the numbers kept or None) → their combination
Merge = Callable[[list["torch.Tensor"], "torch.Tensor", float | None], "torch.Tensor"]


def peft(function: str, *, prunes: bool = False) -> Merge:
    """A function of `peft.utils.merge_utils`, imported when it is used."""

    def merge(
        tensors: list[torch.Tensor], weights: torch.Tensor, density: float | None
    ) -> torch.Tensor:
        from peft.utils import merge_utils

        call: Callable[..., torch.Tensor] = getattr(merge_utils, function)
        options: dict[str, Any] = {"density": density} if prunes else {}
        return call(tensors, weights, **options)

    return merge


_SUM = peft("task_arithmetic")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: as `adapters merge --rule` says it.
        description: one sentence for `adapters merge-rules`.
        space: what is combined: the deltas B·A, or the factors A and B each for itself; `rows` puts
            the factors side by side.
        merge: combines tensors of one shape.
        prunes: drops a share of the numbers (`density`).
        random: which ones is drawn (`seed`).
    """

    name: str
    description: str
    space: Literal["rows", "factors", "deltas"]
    merge: Merge = _SUM
    prunes: bool = False
    random: bool = False


def on_factors(name: str, description: str, *, random: bool = False) -> Rule:
    """A rule that prunes A and B each for itself, by PEFT's function of its name."""
    merge = peft(name, prunes=True)
    return Rule(name, f"{description}, on A and B each for itself", "factors", merge, True, random)


def on_deltas(name: str, description: str, *, random: bool = False) -> Rule:
    """The same on the deltas, as its paper defines it, cut at a rank; its name ends in `_svd`."""
    merge = peft(name.removesuffix("_svd"), prunes=True)
    return Rule(name, f"{description}, on the deltas, cut at a rank", "deltas", merge, True, random)
