"""The reference: what another policy, or this one before its first step, says of every token.

Invariant: it is a column of the examples like any other, computed once, before the first step, and
read back when the training is resumed; so no second model is ever in memory. Before the first step
policy and reference are compared, token by token: a reference that is not what the policy starts
from is refused, unless the manifest says how far it may be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from adapterworks.builders.data.render import IGNORED
from adapterworks.builders.plan.apart import rows_apart
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.batches import EncodedSet
from adapterworks.builders.training.forward import Forward, chunks
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.objective import ReferenceTable

COLUMN = "reference"
# Micro batches whose tokens are compared before the first step, the shortest rows first.
_COMPARED = 8
_ALIKE = ReferenceTable.model_fields["max_start_distance"].default
_FILE = "reference.safetensors"


@dataclass(frozen=True, slots=True)
class Beginning:
    """What the comparison before the first step came to.

    Attributes:
        reference: `start`, `base`, or the digest of a release.
        tokens: how many were compared.
        max_difference: largest difference of log-probabilities of a token, in nats.
        mean_difference: of the policy's log-probabilities less the reference's.
    """

    reference: str
    tokens: int
    max_difference: float
    mean_difference: float


def with_reference(
    rows: Mapping[str, EncodedSet],
    forward: Forward,
    plan: Plan,
    folder: Path,
    accelerator: Any,
    adapter: Path | None = None,
) -> dict[str, EncodedSet]:
    """The examples with their column `reference`, where the objective asks for one.

    Args:
        forward: its model is that of before the first step.
        folder: keeps the column for a training that is resumed.
        adapter: the folder of the adapter that is the reference, where it is one.
    """
    if plan.reference is None:
        return dict(rows)
    path = folder / _FILE
    tensors: dict[str, torch.Tensor] = {}
    if not path.exists():
        with forward.reference_policy(plan.reference, adapter):
            tensors = {
                split: _flat(examples, forward, rows_apart(plan))
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
    if path.exists():
        tensors = load_file(path)  # mapped: what is looked at is in memory
    return {
        split: examples.with_column(COLUMN, tensors.get(split, torch.zeros(0)))
        for split, examples in rows.items()
    }


def compare_with_reference(examples: EncodedSet, forward: Forward, plan: Plan) -> Beginning:
    """Compare policy and reference before the first step, in the micro batches that the reference
    was computed in, so that equal policies give equal numbers.

    Raises:
        Refused: they differ by more than the manifest allows, or by no number.
    """
    assert plan.reference is not None
    compared = []
    for index, own in _columns(examples, forward, rows_apart(plan), most=_COMPARED):
        sequences = examples.examples[index]
        reference = torch.cat([sequence.columns[COLUMN] for sequence in sequences])
        learnt = torch.cat([sequence.labels for sequence in sequences]) != IGNORED
        compared.append((own - reference)[learnt])
    apart = torch.cat(compared).double()
    found = Beginning(plan.reference, len(apart), float(apart.abs().max()), float(apart.mean()))
    limit = getattr(plan.manifest.objective, "max_start_distance", _ALIKE)
    # Not `>`: what is no number is refused too.
    if not found.max_difference <= limit:
        raise Refused(
            f"before the first step policy and reference (`{plan.reference}`) differ by up to "
            f"{found.max_difference:.3g} nats a token, allowed are {limit:g}: the policy would be "
            "held near something that it does not start from",
            hint='begin with it (`[start] from = …`), use `reference = "start"`, or say by '
            "`objective.max_start_distance` that the reference is meant to be another policy",
        )
    return found


def _flat(examples: EncodedSet, forward: Forward, micro_batch: int) -> torch.Tensor:
    """[tokens of all sequences, end to end] float32: what `_columns` finds of each example."""
    begins = [*accumulate(examples.lengths, initial=0)]
    found = torch.zeros(begins[-1])
    for index, column in _columns(examples, forward, micro_batch):
        found[begins[index] : begins[index + 1]] = column
    return found


def _columns(
    examples: EncodedSet, forward: Forward, micro_batch: int, most: int | None = None
) -> Iterator[tuple[int, torch.Tensor]]:
    """Examples by number, the shortest first, and of each [tokens of its sequences, end to end]
    float32: the log-probability of every labelled token, else 0.

    Args:
        most: micro batches; all, if not given.
    """
    order = sorted(range(len(examples)), key=lambda index: examples.lengths[index])
    modes = {module: module.training for module in forward.bare.modules()}
    forward.bare.eval()
    try:
        for micro in islice(chunks(order, micro_batch), most):
            sequences = [(index, s) for index in micro for s in examples.examples[index]]
            scores = forward.plain_scores([sequence for _, sequence in sequences])
            columns: dict[int, list[torch.Tensor]] = {index: [] for index in micro}
            for place, (index, sequence) in enumerate(sequences):
                column = torch.zeros(len(sequence.input_ids))
                learnt = sequence.labels != IGNORED
                learnt[0] = False  # nothing stands before it
                column[learnt] = scores.logprobs[scores.owners == place].float().cpu()
                columns[index].append(column)
            for index, found in columns.items():
                yield index, torch.cat(found)
    finally:
        for module, was in modes.items():
            module.training = was
