"""Keys of `[train]` and `[resources]` that exclude each other, or that nothing would read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adapterworks.manifests.checking import Problem, check, is_written
from adapterworks.manifests.extensions import load
from adapterworks.manifests.models import Manifest


@check("train.batch_size", "train.micro_batch_size")
def _micro_batch(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    train = manifest.train
    if train.micro_batch_size is not None and train.batch_size % train.micro_batch_size:
        yield Problem(
            ("train", "micro_batch_size"),
            f"{train.micro_batch_size} does not divide `batch_size` {train.batch_size}",
            "use a divisor, or leave it to the plan",
        )


@check("train.packing", "train.group_by_length")
def _packing(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    if manifest.train.packing and manifest.train.group_by_length:
        yield Problem(
            ("train", "group_by_length"),
            "`packing` and `group_by_length` exclude each other: packed rows have one length",
            "turn one of them off",
        )


@check("train.packing", "train.packing_strategy", "objective")
def _packed_ahead(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """Rows are put together where something packs them, and each is learnt by itself."""
    train, kind = manifest.train, manifest.objective.kind
    if train.packing_strategy == "micro_batch":
        return
    if not train.packing:
        yield Problem(
            ("train", "packing_strategy"),
            "it says which rows are packed together, and nothing is packed",
            "set `packing = true`, or remove it",
        )
    elif not getattr(load("objectives", kind), "learns_turns", False):
        yield Problem(
            ("train", "packing_strategy"),
            f"objective `{kind}` learns from several sequences together, which have their batch",
            'use `packing_strategy = "micro_batch"`, or leave packing out',
        )


@check("train.quantization_aware", "train.sharding", "method", "base.quantization")
def _rounded(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """Weights that are rounded in each step are a method's own, on a base that is not."""
    if manifest.train.quantization_aware is None:
        return
    method, where = manifest.method, ("train", "quantization_aware")
    if not getattr(load("methods", method.kind), "rounds", False):
        yield Problem(
            where,
            f"method `{method.kind}` cannot be trained with rounded weights",
            'use `method.kind = "lora"` or `"full"`, or remove it',
        )
    elif manifest.base.quantization != "none":
        yield Problem(
            where,
            f'the base is rounded already ("{manifest.base.quantization}"), on another grid',
            'set `base.quantization = "none"`, or remove it',
        )
    elif manifest.train.sharding != "none":
        yield Problem(
            ("train", "sharding"),
            "weights that are held in parts are not rounded",
            'set it to "none", or remove `train.quantization_aware`',
        )
    elif getattr(method, "dropout", 0.0):
        yield Problem(
            ("method", "dropout"),
            "dropout is of a LoRA beside its base, and `train.quantization_aware` rounds both as "
            "one weight",
            "set it to 0, or remove `train.quantization_aware`",
        )


@check("train.anchor", "train.sharding", "start", "method")
def _anchor(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """There is something to be held at."""
    anchor, where = manifest.train.anchor, ("train", "anchor")
    if anchor is None:
        return
    whole = bool(getattr(load("methods", manifest.method.kind), "whole_model", False))
    if manifest.start is None and (anchor.kind == "ewc" or not whole):
        yield Problem(
            where,
            "the training continues no release, so nothing has been learnt that could be lost",
            'name the release: [start] from = "NAME@N"',
        )
    if anchor.kind != "ewc" and "rows" in written.get("train", {}).get("anchor", {}):
        yield Problem(
            (*where, "rows"),
            f"`{anchor.kind}` looks at no rows",
            'remove it, or set `kind = "ewc"`',
        )
    if manifest.train.sharding != "none":
        yield Problem(
            ("train", "sharding"),
            "weights that are held in parts are not anchored",
            'set it to "none", or remove `train.anchor`',
        )


@check("train.schedule", "train.optimizer", "train.learning_rate_floor", "train.decay_ratio")
def _schedule(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    """Keys that the schedule does not read, and schedules that the optimizer does not take."""
    train = manifest.train
    schedule: Any = load("schedules", train.schedule)
    if train.learning_rate_floor and not schedule.falls:
        yield Problem(
            ("train", "learning_rate_floor"),
            f"the schedule `{train.schedule}` does not fall, so that it has no floor",
            'remove it, or use another schedule, such as `"cosine"`',
        )
    if is_written(written, "train", "decay_ratio") and not schedule.decays:
        yield Problem(
            ("train", "decay_ratio"),
            f"the schedule `{train.schedule}` does not read it",
            'remove it, or set `schedule = "wsd"`',
        )
    optimizer: Any = load("optimizers", train.optimizer)
    if optimizer.schedules and train.schedule not in optimizer.schedules:
        yield Problem(
            ("train", "schedule"),
            f"the optimizer `{train.optimizer}` takes no schedule `{train.schedule}`",
            f'set `schedule = "{optimizer.schedules[0]}"`',
        )


@check("resources.nodes")
def _nodes(manifest: Manifest, written: dict[str, Any]) -> Iterator[Problem]:
    if manifest.resources.nodes > 1:
        yield Problem(
            ("resources", "nodes"),
            f"{manifest.resources.nodes} nodes: a build is trained on one",
            "set it to 1; `train.processes` uses several GPUs of a node",
        )


TRAIN_CHECKS = (_micro_batch, _packing, _packed_ahead, _rounded, _anchor, _schedule, _nodes)
