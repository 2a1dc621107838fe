"""Checkpoints of a training: all of its state after a step, and the best weights so far.

Invariant: what `restore` brings back is what `save` saw, to the bit, for every method; a folder is
complete or not there (see `builders/training/state.py`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from adapterworks.builders.methods.technique import Technique
from adapterworks.builders.training.processes import draw_apart
from adapterworks.builders.training.state import (
    group_values,
    keep_only,
    load_trainable,
    newest,
    optimizer_tensors,
    read_folder,
    restore_groups,
    restore_optimizer,
    restore_rng,
    rng_tensors,
    trained,
    write_folder,
)

_WEIGHTS = "weights.safetensors"


@dataclass
class Progress:
    """The part of the state that is not tensors; JSON in every checkpoint."""

    step: int = 0
    best_step: int = 0
    best_value: float | None = None
    worse: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss: float = math.nan
    first_losses: list[float] | None = None
    smoothed: float | None = None
    stopped_early: bool = False
    alarms: dict[str, Any] | None = None


class Companion(Protocol):
    """What a training has beside model and optimizer, whose state changes with its steps."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """Its state, on the CPU."""

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put back what `tensors` gave."""


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: holds `step-*` and `best-*`.
        model: with the method attached, not wrapped.
        optimizer: as `accelerate` prepared it.
        technique: the method, for state of its own.
        accelerator: says which process writes, and has the loss scaler.
        remembers: keys of the optimizer's groups that belong to its state.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        optimizer: Any,
        technique: Technique[Any],
        accelerator: Any,
        remembers: tuple[str, ...] = (),
    ) -> None:
        self.folder, self.model, self.optimizer = folder, model, optimizer
        self.technique, self.accelerator = technique, accelerator
        self.remembers = remembers
        self.names = {p: n for n, p in model.named_parameters() if p.requires_grad}
        self._companions: dict[str, Companion] = {}
        self._restored: Path | None = None

    def join(self, name: str, companion: Companion) -> None:
        """Keep its state from now on; one that a checkpoint was restored with gets it back."""
        self._companions[name] = companion
        if self._restored is not None:
            companion.restore(read_folder(self._restored, f"{name}.safetensors"))

    def save(self, progress: Progress) -> None:
        """Everything, so that a resumed training continues exactly; then what it replaces goes."""
        name = f"step-{progress.step:08d}"
        slots, scalars = optimizer_tensors(self.optimizer.optimizer, self.names)
        tensors, values = self.technique.state(self.model)
        scaler = self.accelerator.scaler
        self._write(
            name,
            {"optimizer.safetensors": slots, "method.safetensors": tensors}
            | {"rng.safetensors": self._random_numbers()}
            | {f"{name}.safetensors": one.tensors() for name, one in self._companions.items()},
            {
                "progress": asdict(progress),
                "method": values,
                "optimizer": scalars,
                "groups": group_values(self.optimizer.optimizer, self.remembers),
                "scaler": scaler.state_dict() if scaler is not None else {},
            },
        )
        if self.accelerator.is_main_process:
            keep_only(self.folder, {name, f"best-{progress.best_step:08d}"})

    def save_best(self, progress: Progress) -> None:
        """The weights of this step, which is the best one so far."""
        self._write(f"best-{progress.step:08d}", {}, self.technique.state(self.model)[1])

    def put_best_back(self, progress: Progress) -> None:
        """Give the model the best step's weights."""
        if progress.best_step and progress.best_step != progress.step:
            best = self.folder / f"best-{progress.best_step:08d}"
            load_trainable(self.model, read_folder(best, _WEIGHTS))
            values = json.loads((best / "state.json").read_text(encoding="utf-8"))
            self.technique.restore(self.model, {}, values)

    def restore(self) -> Progress | None:
        """Bring the newest checkpoint back; None if there is none."""
        found = newest(self.folder)
        if found is None:
            return None
        values, self._restored = found.values, found.folder
        load_trainable(self.model, read_folder(found.folder, _WEIGHTS))
        restore_optimizer(
            self.optimizer.optimizer,
            self.names,
            read_folder(found.folder, "optimizer.safetensors"),
            values["optimizer"],
        )
        restore_groups(self.optimizer.optimizer, values.get("groups", []))
        method = dict(read_folder(found.folder, "method.safetensors"))
        self.technique.restore(self.model, method, values["method"])
        if self.accelerator.scaler is not None and values["scaler"]:
            self.accelerator.scaler.load_state_dict(values["scaler"])
        progress = Progress(**values["progress"])
        self._restore_random_numbers(read_folder(found.folder, "rng.safetensors"), progress.step)
        return progress

    def _random_numbers(self) -> dict[str, torch.Tensor]:
        """Every process's: the first one's under its device's name, others' with their number."""
        if self.accelerator.num_processes == 1:
            return rng_tensors()
        from accelerate.utils import gather_object

        states = gather_object([rng_tensors()])
        return {
            f"{name}.{rank}" if rank else name: state
            for rank, found in enumerate(states)
            for name, state in found.items()
        }

    def _restore_random_numbers(self, saved: Mapping[str, torch.Tensor], step: int) -> None:
        """This process's own; one that was not there when it was written draws other ones."""
        rank = self.accelerator.process_index
        suffix = f".{rank}" if rank else ""
        if f"cpu{suffix}" not in saved:
            draw_apart(self.accelerator, 0, step)
            return
        names = ("cpu", "cuda")
        restore_rng({name: saved[name + suffix] for name in names if name + suffix in saved})

    def _write(
        self, name: str, files: dict[str, dict[str, torch.Tensor]], values: dict[str, Any]
    ) -> None:
        write_folder(
            self.folder / name,
            {_WEIGHTS: trained(self.model)} | files,
            values,
            here=self.accelerator.is_main_process,
        )
        self.accelerator.wait_for_everyone()
