"""EVA (Paischer et al. 2024, arXiv:2410.07170): A starts as the right singular vectors of what each
linear is given by the training rows; B is zero.

Every module keeps the declared rank (ρ = 1): the paper's redistribution of ranks would make a plan
of parameters and memory wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adapterworks.builders.methods.inits.init import Init

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Eva(Init):
    """Looks at rows until the vectors stand still."""

    def configuration(self) -> dict[str, Any]:
        from peft import EvaConfig

        return {"eva_config": EvaConfig(rho=1.0)}

    def begin(self, model: nn.Module, batches: Sequence[dict[str, Any]]) -> None:
        from peft import initialize_lora_eva_weights

        # Every process looks at the same rows, one after the other where weights are held in parts.
        initialize_lora_eva_weights(
            model, batches, gather_distributed_inputs=False, show_progress_bar=False
        )


EVA = Eva(
    "eva",
    "Explained variance of the rows' activations",
    "Paischer et al. 2024, arXiv:2410.07170",
    "eva",
    needs_rows=True,
)
