"""What an init of LoRA's factors is to the methods that have them.

Invariant: whatever it starts from, what is served is a plain LoRA on the base as it is: an init
that starts as a part of the base has it subtracted from what the base gives
(`methods/subtracted.py`), and from the adapter when it is written (`methods/lora.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import Lint

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Init:
    """One init.

    Attributes:
        name: what `method.init` says.
        title: its name in the literature.
        source: the paper.
        peft: PEFT's `init_lora_weights`.
        part_of_base: the factors' product is a part of the base's weights, which is taken out.
        needs_rows: it is computed from the training rows.
    """

    name: str
    title: str
    source: str
    peft: bool | str = True
    part_of_base: bool = False
    needs_rows: bool = False

    def objection(self, shape: BaseShape, rank: int) -> str | None:
        """Why a base cannot have it at this rank, or None."""
        return None

    def lints(self, shape: BaseShape) -> list[Lint]:
        """What is unusual about it."""
        return []

    def configuration(self) -> dict[str, Any]:
        """Further keys of PEFT's `LoraConfig`."""
        return {}

    def attached(self, model: nn.Module) -> None:
        """Set values from the base's weights, where PEFT does not."""

    def set(self, layer: Any) -> None:
        """Set a layer's factors to a part of its weight, where `part_of_base`; the weight may be
        changed."""

    def begin(self, model: nn.Module, batches: Sequence[dict[str, Any]]) -> None:
        """Set values from rows."""
