"""What a training needs to continue as if it had not stopped, in safetensors and JSON.

Invariant: a checkpoint folder with `state.json` is complete (it is written last, then the folder is
renamed into place). Nothing is pickled: optimizer tensors are named `<parameter>.<slot>`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adapterworks.builders.training.sharding import like, whole
from adapterworks.builders.training.tensor_file import Tensors, write_tensors

_STATE = "state.json"


@dataclass(frozen=True)
class Restored:
    """The newest checkpoint: its tensors, and what `values` held."""

    folder: Path
    values: dict[str, Any]


def trained(model: nn.Module) -> dict[str, torch.Tensor]:
    """The trained parameters by name, as they are: this process's parts of those in parts."""
    return {
        name: parameter.detach()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def trainable_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """The trained parameters by name, whole, on the CPU; of ones in parts every process asks."""
    return {name: whole(tensor) for name, tensor in trained(model).items()}


def load_trainable(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy saved tensors, one at a time, into the trained parameters of the same names."""
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert parameters.keys() == tensors.keys(), "a checkpoint of another method or shape"
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(like(tensors[name], parameter))


def write_folder(
    folder: Path,
    files: Mapping[str, Mapping[str, torch.Tensor]],
    values: dict[str, Any],
    *,
    here: bool = True,
) -> None:
    """Write safetensors files and `state.json`, then make the folder appear at once.

    Args:
        files: by name; of tensors in parts every process writes.
        here: whether this process has the folder; another helps to gather.
    """
    temporary = folder.with_name(f".{folder.name}.tmp")
    if here:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    for name, tensors in files.items():
        write_tensors(temporary / name, tensors, here=here)
        if here:
            _sync(temporary / name)
    if not here:
        return
    with (temporary / _STATE).open("w", encoding="utf-8") as file:
        json.dump(values, file)
        file.flush()
        os.fsync(file.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    _sync(temporary)
    temporary.rename(folder)
    _sync(folder.parent)


def _sync(path: Path) -> None:
    """Wait until it is on the disk: complete or not there holds for a loss of power, too."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_folder(folder: Path, name: str) -> Mapping[str, torch.Tensor]:
    """The tensors of one file of a checkpoint, each read when it is asked for; none if it was not
    written."""
    return Tensors(folder / name)


def newest(checkpoints: Path) -> Restored | None:
    """The newest complete checkpoint under a folder."""
    found = sorted(path.parent for path in checkpoints.glob(f"step-*/{_STATE}"))
    if not found:
        return None
    return Restored(found[-1], json.loads((found[-1] / _STATE).read_text(encoding="utf-8")))


def keep_only(checkpoints: Path, folders: set[str]) -> None:
    """Remove every checkpoint folder but the named ones."""
    for path in checkpoints.iterdir():
        if path.name not in folders:
            (path / _STATE).unlink(missing_ok=True)  # from here on it is none
            shutil.rmtree(path, ignore_errors=True)


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, names: dict[nn.Parameter, str]
) -> tuple[dict[str, torch.Tensor], dict[str, dict[str, Any]]]:
    """The optimizer's state: tensors by `<parameter>.<slot>`, as they are (parts of those in
    parts), other values by parameter."""
    tensors: dict[str, torch.Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    for parameter, slots in optimizer.state.items():
        for slot, value in slots.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{names[parameter]}.{slot}"] = value.detach()
            else:
                values.setdefault(names[parameter], {})[slot] = value
    return tensors, values


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    names: dict[nn.Parameter, str],
    tensors: Mapping[str, torch.Tensor],
    values: dict[str, dict[str, Any]],
) -> None:
    """Put back what `optimizer_tensors` gave, whole and one at a time."""
    parameters = {name: parameter for parameter, name in names.items()}
    for key in tensors:
        name, _, slot = key.rpartition(".")
        parameter = parameters[name]
        optimizer.state[parameter][slot] = _beside(parameter, tensors[key])
    for name, slots in values.items():
        optimizer.state[parameters[name]].update(slots)


def _beside(parameter: nn.Parameter, tensor: torch.Tensor) -> torch.Tensor:
    """A slot where an optimizer keeps it: moments follow their parameter, AdamW's step counter is
    on the CPU."""
    if tensor.dim() == 0 and parameter.dim() > 0:
        return tensor
    return (
        like(tensor, parameter) if tensor.shape == parameter.shape else tensor.to(parameter.device)
    )


def group_values(optimizer: torch.optim.Optimizer, keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """What an optimizer remembers by group: numbers and flags."""
    return [
        {key: _plain(group[key]) for key in keys if key in group}
        for group in optimizer.param_groups
    ]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, torch.Tensor) else value


def restore_groups(optimizer: torch.optim.Optimizer, values: list[dict[str, Any]]) -> None:
    """Put back what `group_values` gave."""
    for group, saved in zip(optimizer.param_groups, values, strict=False):
        group.update(saved)


def rng_tensors() -> dict[str, torch.Tensor]:
    """The states of the random generators."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_rng(states: dict[str, torch.Tensor]) -> None:
    """Put back what `rng_tensors` gave."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
