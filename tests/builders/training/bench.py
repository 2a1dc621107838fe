"""Plans and trainers whose model is the table of `by_hand.py`, and the same in NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from adapterworks.builders.methods.shape import read_shape
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.plan import Plan, make_plan
from adapterworks.builders.training.arithmetic import learning_rate_at
from adapterworks.builders.training.batches import EncodedSet, epoch_batches
from adapterworks.builders.training.events import EventLog, read_events
from adapterworks.builders.training.loop import Trainer
from tests.builders.build_support import ENVIRONMENT, MACHINE, identity, manifest_for
from tests.builders.training.by_hand import (
    LABELS,
    Bigram,
    encoded_set,
    nats_and_gradient,
)

# Two rows of 3 and 1 labels: their mean by row is another number than that by token.
VALIDATION: tuple[tuple[tuple[int, ...], int], ...] = (((0, 2, 4, 4), 1), ((0, 3, 1), 2))
LENGTHS = encoded_set().lengths


class Saved(Bigram):
    """Writes its table where an adapter would be."""

    def save_pretrained(self, folder: Path, safe_serialization: bool) -> None:
        folder.mkdir(parents=True)
        save_file({"table": self.table.detach()}, folder / "adapter_model.safetensors")


class Bench:
    """Plans and trainers in a folder, with the table in place of a model."""

    def __init__(self, tiny: Path, folder: Path) -> None:
        self.shape, self.folder, self.dropout, self.made = read_shape(tiny), folder, 0.0, count()

    def model(self, checkpoint: Path, plan: Plan, start: Path | None = None) -> Saved:
        torch.manual_seed(plan.manifest.train.seed)
        return Saved(self.dropout)

    def plan(self, **train: Any) -> Plan:
        usual = {"batch_size": 2, "micro_batch_size": 1, "epochs": 3.0, "group_by_length": False}
        usual["evaluations"] = 5  # in nine steps: every second one, and the last
        facts = DataFacts(
            rows={"train": 5, "validation": 2, "test": 0},
            digests=dict.fromkeys(("train", "validation", "test"), "sha256:1"),
            lengths=LENGTHS,
            supervised=LABELS,
        )
        manifest = manifest_for("lora", **{**usual, **train})
        return make_plan(manifest, identity("lora"), self.shape, MACHINE, facts, ENVIRONMENT)

    def trainer(
        self, plan: Plan, name: str = "job", rows: dict[str, EncodedSet] | None = None
    ) -> Trainer:
        folder = self.folder / name
        given = rows or {"train": encoded_set(), "validation": encoded_set(VALIDATION)}
        log = EventLog(folder / "events.jsonl")
        return Trainer(plan, self.folder, folder / "train", given, log, pad=6)

    def events(self, kind: str, name: str = "job") -> list[dict[str, Any]]:
        events = read_events(self.folder / name / "events.jsonl")
        return [event for event in events if event["event"] == kind]

    def table(self, name: str = "job") -> torch.Tensor:
        return load_file(self.folder / name / "train/adapter/adapter_model.safetensors")["table"]


def by_numpy(plan: Plan, table: np.ndarray) -> Iterator[dict[str, Any]]:
    """The same training in float64: mean over tokens, clipping, AdamW, plain validation."""
    train = plan.manifest.train
    first, second = np.zeros_like(table), np.zeros_like(table)
    for step in range(plan.steps):
        epoch, place = divmod(step, 3)
        batches = epoch_batches(
            LENGTHS, 2, group=train.group_by_length, seed=train.seed, epoch=epoch
        )
        indices = batches[place]
        nats, gradient = nats_and_gradient(table, indices)
        labels = sum(LABELS[index] for index in indices)
        gradient /= labels
        norm = float(np.linalg.norm(gradient))
        gradient = gradient * min(1.0, train.max_grad_norm / norm)
        rate = learning_rate_at(
            step, plan.steps, plan.learning_rate, plan.warmup_steps, train.schedule
        )
        table = table - rate * train.weight_decay * table
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        hat = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        table = table - rate * hat[0] / (np.sqrt(hat[1]) + 1e-8)
        yield {
            "loss": nats / labels,
            "norm": norm,
            "rate": rate,
            "tokens": sum(LENGTHS[index] for index in indices),
            "validation": nats_and_gradient(table, range(2), VALIDATION)[0] / 4,
            "table": table,
        }
