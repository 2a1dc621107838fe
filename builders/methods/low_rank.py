"""What the methods that put low-rank factors beside linears share: keys, checks, memory, lints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from adapterworks.builders.methods.shape import BaseShape, adapted_linears, has_experts
from adapterworks.builders.methods.technique import Kept, Lint, linear_inputs
from adapterworks.manifests.checking import Problem, check
from adapterworks.manifests.models import Manifest, TrainTable

if TYPE_CHECKING:
    from torch import nn

Targets = Literal["all-linear"] | tuple[str, ...]
# Ranks among which one of an equal number of parameters is looked for.
RANKS = range(1, 257)


@check("method")
def adapts_something(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """`target_modules = []` would train nothing."""
    table: Any = manifest.method
    targets: Targets = table.target_modules
    if targets != "all-linear" and not targets:
        yield Problem(
            ("method", "target_modules"),
            "no module would get an adapter",
            'name modules such as `["q_proj", "v_proj"]`, or write `"all-linear"`',
        )


def peft_targets(targets: Targets, model: nn.Module) -> str | list[str]:
    """As PEFT's configurations take them.

    Where the base has experts, `all-linear` is spelled out: PEFT's own would adapt them, too.
    """
    if not isinstance(targets, str):
        return list(targets)
    if not has_experts(model):
        return targets
    return sorted({linear.leaf for linear in adapted_linears(model)})


def low_rank_kept(shape: BaseShape, targets: Targets, rank: int, dropout: float) -> Kept:
    """The inputs of all linears, and A·x of each adapted one (dropout keeps its own input)."""
    per_layer = len(shape.targeted(targets)) / shape.layers
    return Kept(layer=linear_inputs(shape) + int(per_layer * rank * (1 + (dropout > 0))))


def low_rank_train_lints(train: TrainTable) -> list[Lint]:
    """Large batches."""
    if train.batch_size <= 128:
        return []
    return [
        Lint(
            "train.batch_size",
            f"LoRA falls behind full fine-tuning at large batches ({train.batch_size})",
            "LoRA Without Regret (Thinking Machines, 2025)",
        )
    ]
