"""Weights in parts: what may be, and what a process then needs.

Invariant: what a training in parts would do wrongly, or has not been shown to do rightly, is
refused here with the reason, before a weight of the base is read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import Technique
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.optimizers import OPTIMIZERS
from adapterworks.builders.plan.machine import Precision
from adapterworks.builders.plan.memory import Memory
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest

# Layers that are whole at a time: the one that is computed, and the next, which is on its way.
_GATHERED = 2


def check_sharding(manifest: Manifest, technique: Technique[Any], precision: Precision) -> None:
    """Refuse `train.sharding` where it means nothing or does not run.

    Raises:
        InvalidInput: with the reason, and what would do.
    """
    train = manifest.train
    if train.sharding == "none":  # of one process alone it means nothing, and does nothing
        return
    told = f"`train.sharding` is `{train.sharding}`, and "
    objective = objective_of(manifest)
    if not technique.shards:
        able = ", ".join(f"`{n.name}`" for n in METHODS.listing() if n.value and n.value.shards)
        raise InvalidInput(
            told
            + f"`{technique.kind}` is trained with whole weights in each process: 4-bit codes, "
            "soft prompts and vectors that layers share are not cut",
            hint=f"leave it out, or use one of {able}",
        )
    if not OPTIMIZERS[train.optimizer].by_number:
        raise InvalidInput(
            told + f"`{train.optimizer}` looks at whole matrices or keeps blocks of them",
            hint='use `optimizer = "adamw"`',
        )
    if objective.compares:
        raise InvalidInput(
            told + f"`{objective.name}` asks or samples from a second policy in the same weights",
            hint="leave it out: with `train.processes` alone each process holds all weights",
        )
    if precision == "fp16":
        raise InvalidInput(
            told + "fp16 would scale the loss in each process by itself",
            hint='use `precision = "bf16"` or `"fp32"`',
        )


def in_parts(
    memory: Memory, shape: BaseShape, manifest: Manifest, *, trainable: int, width: int
) -> Memory:
    """What one of several processes needs of it, where `train.sharding` says so.

    Args:
        memory: of a process that holds everything.
        trainable: number of trained parameters.
        width: bytes of a weight in the training's precision (4 or 2), in which it is gathered.
    """
    train, count = manifest.train, manifest.train.processes
    if train.sharding == "none" or count == 1:
        return memory
    share = trainable / shape.parameters  # of a layer, too; of a model that is trained whole, all
    whole = trainable >= shape.parameters - shape.beside
    beside = 0.0 if whole else share  # factors stand beside the weights
    layer = (shape.parameters - shape.other) // shape.layers
    numbers = shape.other + min(_GATHERED, shape.layers) * layer
    if train.sharding == "zero-2":
        numbers = shape.parameters
    return replace(
        memory,
        weights=-(-memory.weights // count) + int(width * numbers * (1 + beside)),
        # Those of the layer that was computed last are whole until they have been added up.
        gradients=-(-memory.gradients // count) + int(4 * share * (shape.other + layer)),
        optimizer=-(-memory.optimizer // count),
        casts=0,  # they are gathered as they are multiplied
        accumulated=-(-memory.accumulated // count),
        stepping=0,  # parts are stepped one weight after the other, not all together
    )
