"""What is well-formed and cannot be done: on this machine, with this method, on this kind of base.

Invariant: each refusal says why, and what would do instead.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.methods.technique import Technique
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.optimizers import OPTIMIZERS
from adapterworks.builders.plan.agreement import check_agreement
from adapterworks.builders.plan.attention import check_attention
from adapterworks.builders.plan.machine import Machine, Precision
from adapterworks.builders.plan.sharding import check_sharding
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.models import Manifest


def check_possible(
    manifest: Manifest,
    shape: BaseShape,
    machine: Machine,
    technique: Technique[Any],
    precision: Precision,
    longest: int,
) -> None:
    """Refuse what is well-formed but impossible here, saying what would do.

    Args:
        longest: tokens of the longest sequence.

    Raises:
        InvalidInput: this base, machine or method cannot do it.
    """
    train, method = manifest.train, manifest.method
    if machine.device == "cpu" and OPTIMIZERS[train.optimizer].needs == "cuda":
        raise InvalidInput(
            f"`train.optimizer` `{train.optimizer}` needs a CUDA device",
            hint='use `optimizer = "adamw"` or `"adamw-8bit"` on this machine',
        )
    _check_installed(train.optimizer)
    if train.processes > 1 and objective_of(manifest).rollouts:
        raise InvalidInput(
            f"`train.processes` is {train.processes}, and `{manifest.objective.kind}` samples in "
            "one process",
            hint="leave it out",
        )
    if train.label_smoothing and not objective_of(manifest).smooths:
        raise InvalidInput(
            f"`train.label_smoothing` means nothing to the objective `{manifest.objective.kind}`",
            hint="leave it out",
        )
    if machine.device == "cpu" and precision == "fp16":
        raise InvalidInput(
            "`train.precision` `fp16` needs a CUDA device", hint='use `precision = "auto"`'
        )
    if machine.precision == "fp16" and precision == "bf16":
        raise InvalidInput(
            "`train.precision` `bf16` needs a GPU that computes in it (NVIDIA's since Ampere), "
            f"and `{machine.name}` only emulates it",
            hint='use `precision = "auto"`, which is `fp16` there',
        )
    if machine.device == "cuda" and train.processes > machine.cards:
        raise InvalidInput(
            f"`train.processes` is {train.processes}, and this machine has {machine.cards} GPUs",
            hint=f"set it to at most {machine.cards}",
        )
    if train.processes > train.batch_size:
        raise InvalidInput(
            f"`train.processes` is {train.processes}, more than `train.batch_size` "
            f"{train.batch_size}: some would never have a row",
            hint="raise the batch size, or use fewer processes",
        )
    check_sharding(manifest, technique, precision)
    check_agreement(manifest, precision, machine.device)
    check_attention(manifest, shape, machine, precision)
    technique.require(shape, method)
    _check_architecture(manifest, shape, technique)
    if train.packing and technique.soft_prompt:
        raise InvalidInput(
            f"`train.packing` cannot be used with `{method.kind}`: "
            "only the first packed row would see the virtual tokens",
            hint="use `train.group_by_length`, which computes almost no padding either",
        )
    if train.gradient_checkpointing and not technique.gradient_checkpointing:
        raise InvalidInput(
            f"`train.gradient_checkpointing` cannot be used with `{method.kind}`: "
            "the prefix enters as a cache, which recomputation would fill twice",
            hint="lower `train.micro_batch_size` instead",
        )
    virtual = technique.virtual_tokens(method)
    if longest + virtual > shape.max_positions:
        raise InvalidInput(
            f"rows of {longest} tokens and {virtual} virtual tokens exceed the base's "
            f"{shape.max_positions} positions",
            hint=f"set `train.max_length` to {shape.max_positions - virtual} or less",
        )


def _check_installed(name: str) -> None:
    """Refuse an optimizer whose package is not there."""
    package = OPTIMIZERS[name].package
    if package is not None and find_spec(package) is None:
        raise InvalidInput(
            f"`train.optimizer` `{name}` needs the package `{package}`, which is not installed",
            hint=f"pip install {package}",
        )


def _check_architecture(manifest: Manifest, shape: BaseShape, technique: Technique[Any]) -> None:
    """Refuse what this kind of base would train wrongly, or could not be served."""
    kind, base = manifest.method.kind, f"a base of type `{shape.architecture}`"
    virtual = technique.virtual_tokens(manifest.method)
    if technique.soft_prompt and not shape.uniform_cache:
        raise InvalidInput(
            f"`{kind}` cannot be used with {base}: its layers do not all keep keys and values of "
            "one shape, which a prefix is made of",
            hint='use `method.kind = "lora"`',
        )
    if shape.window is not None and virtual >= shape.window:
        raise InvalidInput(
            f"{virtual} virtual tokens do not fit into the window of {shape.window} tokens that "
            "some layers of this base see",
            hint=f"use at most {shape.window - 1} virtual tokens",
        )
    if technique.cut and shape.experts and technique.whole_model:
        raise InvalidInput(
            f"`{kind}` cannot be used with {base}: what its experts learn cannot be served as a "
            "LoRA",
            hint='use `method.kind = "lora"`, which adapts what is outside the experts',
        )
    transposed = any(linear.transposed for linear in shape.linears)
    if manifest.train.quantization_aware is not None and (transposed or shape.experts):
        raise InvalidInput(
            f"`train.quantization_aware` cannot be used with {base}: its matrices are stored "
            "transposed or belong to experts, and would not be rounded as an export rounds them",
            hint="remove it",
        )
    if technique.cut and transposed:
        raise InvalidInput(
            f"`{kind}` cannot be used with {base}: its matrices are stored transposed, and a "
            "weight delta is cut from ones that are not",
            hint='use `method.kind = "lora"`',
        )
    if manifest.train.packing and shape.mixes:
        raise InvalidInput(
            f"`train.packing` cannot be used with {base}: its {', '.join(shape.mixes)} layers "
            "would mix one row into the next",
            hint="use `train.group_by_length`, which computes almost no padding either",
        )
