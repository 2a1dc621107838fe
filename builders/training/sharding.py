"""Weights in parts: each of several processes holds a share of every weight, of its gradient and of
its optimizer's state (FSDP2: Zhao et al. 2023, arXiv:2304.11277; ZeRO: Rajbhandari et al. 2020,
arXiv:1910.02054).

A layer's weights are gathered when it is computed. With `fsdp` they are given back after its
forward pass and gathered once more in the backward pass (what ZeRO calls stage 3); with `zero-2`
they stay until then, and only gradients and optimizer state are in parts all the time.

Invariant: what leaves this module is whole. Checkpoints and adapters have the tensors that one
process would write, so a training goes on in any number of processes, in parts or not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from adapterworks.manifests.errors import Refused


def in_turn(accelerator: Any, begin: Callable[[], None]) -> None:
    """Do something in one process of a machine after the other: a model is whole while it is made,
    and the machine's memory need hold one of them, not one a process."""
    for turn in range(int(os.environ.get("LOCAL_WORLD_SIZE", "1"))):
        if turn == accelerator.local_process_index:
            begin()
        accelerator.wait_for_everyone()


def process_mesh(accelerator: Any) -> Any:
    """All processes in a row. Every one of them has to ask."""
    from torch.distributed.device_mesh import init_device_mesh

    return init_device_mesh(accelerator.device.type, (accelerator.num_processes,))


def shard(model: nn.Module, mesh: Any, kind: str, precision: str) -> nn.Module:
    """The same model, in place: this process keeps its share of every weight.

    Args:
        model: with the method attached, on any device; shares go to the mesh's.
        mesh: of all processes, from `process_mesh`.
        kind: what `train.sharding` says.
        precision: of the plan. In bf16 weights are gathered in it, which is half of what travels
            and is held; what is kept, added up over processes and stepped is float32.

    Raises:
        Refused: the base does not say which of its modules are layers.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    again, policy = kind == "fsdp", MixedPrecisionPolicy()
    if precision == "bf16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for layer in layers(model):
        fully_shard(layer, mesh=mesh, reshard_after_forward=again, mp_policy=policy)
    # Embeddings, last norm and output projection, which may be the embeddings, are one group.
    whole: Any = fully_shard(model, mesh=mesh, reshard_after_forward=False, mp_policy=policy)
    return whole


def layers(model: nn.Module) -> list[nn.Module]:
    """The decoder layers: what `transformers` never splits over devices.

    Raises:
        Refused: the base names none.
    """
    base: Any = model
    base = base.get_base_model() if hasattr(base, "get_base_model") else base
    names = {*(getattr(base, "_no_split_modules", None) or ())}
    found = [module for module in base.modules() if type(module).__name__ in names]
    if not found:
        raise Refused(
            f"`train.sharding`: `{type(base).__name__}` does not say which of its modules are "
            "layers",
            hint="leave it out: with `train.processes` alone each process holds all weights",
        )
    return found


def gathered_are_given_back(model: nn.Module) -> None:
    """Let a model in parts have nothing but its parts: what was gathered without a backward pass
    behind it, as for a validation, would stay. Of any other model nothing."""
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def is_part(tensor: torch.Tensor) -> bool:
    """Whether a process has a share of it."""
    return isinstance(tensor, DTensor)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor, on the CPU. Of one in parts every process has to ask at the same time."""
    found = tensor.detach()
    if isinstance(found, DTensor):
        found = found.full_tensor()
    return found.cpu().contiguous()


def like(tensor: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """A whole tensor as its parameter is kept: this process's share, on its device."""
    if not isinstance(parameter, DTensor):
        return tensor.to(parameter.device)
    return distribute_tensor(
        tensor.to(parameter.device),
        parameter.device_mesh,
        parameter.placements,
        src_data_rank=None,  # every process has read the whole, so none has to send
    )


def clipped(parameters: Iterable[nn.Parameter], most: float) -> float:
    """Scale gradients in parts to a norm of at most `most`; returns the norm over all parts."""
    given = [p for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in given if p.grad is not None])
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()
    nn.utils.clip_grads_with_norm_(given, most, norm)
    return float(norm)
