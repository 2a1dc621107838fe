"""The reference: what the model said of every supervised token before anything was learnt.

Invariant: it is a column of the examples like any other, computed once, before the first step, and
read back when the training is resumed; so no second model is ever in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.batches import EncodedSet
from adapterworks.builders.training.forward import Forward, chunks

COLUMN = "reference"
_FILE = "reference.safetensors"


def with_reference(
    rows: Mapping[str, EncodedSet], forward: Forward, plan: Plan, folder: Path, accelerator: Any
) -> dict[str, EncodedSet]:
    """The examples with their column `reference`, where the objective asks for one.

    Args:
        forward: its model is that of before the first step.
        folder: keeps the column for a training that is resumed.
    """
    if not forward.objective.reference:
        return dict(rows)
    path = folder / _FILE
    if path.exists():
        tensors = load_file(path)
    else:
        tensors = {
            split: torch.cat(_column(examples, forward, plan.micro_batch))
            for split, examples in rows.items()
            if len(examples)
        }
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{_FILE}.tmp")
            save_file(tensors, temporary)
            temporary.rename(path)
        accelerator.wait_for_everyone()
    return {
        split: examples.with_column(COLUMN, _split(examples, tensors.get(split)))
        for split, examples in rows.items()
    }


def _column(examples: EncodedSet, forward: Forward, micro_batch: int) -> list[torch.Tensor]:
    """Per sequence, [length] float32: the log-probability of each labelled token, else 0."""
    columns: list[list[torch.Tensor]] = [[] for _ in range(len(examples))]
    order = sorted(range(len(examples)), key=lambda index: examples.lengths[index])
    modes = {module: module.training for module in forward.bare.modules()}
    forward.bare.eval()
    for micro in chunks(order, micro_batch):
        sequences = [(index, s) for index in micro for s in examples.examples[index]]
        scores = forward.base_scores([sequence for _, sequence in sequences])
        for number, (index, sequence) in enumerate(sequences):
            column = torch.zeros(len(sequence.input_ids))
            learnt = sequence.labels != IGNORED
            learnt[0] = False  # nothing stands before it
            column[learnt] = scores.logprobs[scores.owners == number].float().cpu()
            columns[index].append(column)
    for module, was in modes.items():
        module.training = was
    return [column for example in columns for column in example]


def _split(examples: EncodedSet, flat: torch.Tensor | None) -> Sequence[torch.Tensor]:
    lengths = [len(s.input_ids) for example in examples.examples for s in example]
    return [] if flat is None else flat.split(lengths)
