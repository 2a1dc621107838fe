"""The model, its optimizer and what the objective adds to it, as a training begins with them.

Invariant: every process begins with the same weights, whether it holds all of them or a part.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adapterworks.builders.methods import METHODS
from adapterworks.builders.objectives.batch import padded
from adapterworks.builders.objectives.objective import Objective
from adapterworks.builders.objectives.policy_gradient import PolicyGradient
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.batches import EncodedSet, epoch_batches
from adapterworks.builders.training.forward import chunks
from adapterworks.builders.training.model import build_model, make_optimizer
from adapterworks.builders.training.sharding import in_turn, process_mesh, shard
from adapterworks.builders.training.value_head import ValueHead, attach_value_head

# Rows that a method may look at before it begins: so many times so many. Not micro batches, which
# are chosen by the memory that is free.
_LOOKED_AT, _AT_ONCE = 64, 8


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `accelerate` prepared.

    Attributes:
        bare: the model, not wrapped.
        model: the same as it is called.
        critic: the value head, where the objective has one; a part of the model.
    """

    bare: nn.Module
    model: nn.Module
    optimizer: Any
    critic: ValueHead | None


def prepare(
    plan: Plan,
    base: Path,
    start: Path | None,
    objective: Objective,
    accelerator: Any,
    rows: EncodedSet,
    *,
    pad: int,
    sharding: str,
) -> Prepared:
    """Build the model and its optimizer for this process.

    Args:
        base: the checkpoint's folder.
        start: of the adapter that is continued, if one is.
        rows: those that are trained on; a method may take its beginning from them.
        pad: the token id of padding.
        sharding: "none" where each process holds all of the model.
    """
    if sharding == "none":
        bare = build_model(base, plan, start)
        critic = None
        if isinstance(objective, PolicyGradient) and objective.critic:
            critic = attach_value_head(bare, objective.settings.value_learning_rate)
        optimizer = make_optimizer(bare, plan)
        _begin(bare, plan, rows, pad)  # every process looks at the same
        model, optimizer = accelerator.prepare(bare, optimizer)
        return Prepared(bare, model, optimizer, critic)

    mesh, parts = process_mesh(accelerator), []

    def begin() -> None:
        """The model whole, in one process after the other, and then this one's part of it."""
        whole = build_model(base, plan, start, device="cpu")
        _begin(whole, plan, rows, pad)
        parts.append(shard(whole, mesh, sharding, plan.precision))

    in_turn(accelerator, begin)
    (bare,) = parts
    # Only the precision: the processes are joined by the parts themselves.
    model = accelerator.prepare_model(bare, device_placement=False, evaluation_mode=True)
    return Prepared(bare, model, accelerator.prepare_optimizer(make_optimizer(bare, plan)), None)


def batches_of(plan: Plan, epoch: int, rows: EncodedSet) -> list[list[int]]:
    """The rows of each step of an epoch, in its order."""
    table = plan.manifest.train
    return epoch_batches(
        rows.lengths,
        table.batch_size,
        group=table.group_by_length and not table.packing,
        seed=table.seed,
        epoch=epoch,
    )


def _begin(model: nn.Module, plan: Plan, rows: EncodedSet, pad: int) -> None:
    """Let the method set what it takes from rows: those of the first epoch, in its order."""
    method = plan.manifest.method
    technique = METHODS[method.kind]
    if not technique.needs_rows(method):
        return
    device = next(model.parameters()).device
    order = [index for batch in batches_of(plan, 0, rows) for index in batch]
    given = []
    for some in chunks(order, _AT_ONCE)[:_LOOKED_AT]:
        sequences = [sequence for one in rows.chosen(some) for sequence in one]
        batch = padded(sequences, pad).to(device)
        asked = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        # Its inner layers are looked at; logits of every position would be the most memory.
        given.append({**asked, "logits_to_keep": torch.tensor([0], device=device)})
    technique.begin(model, method, given)
