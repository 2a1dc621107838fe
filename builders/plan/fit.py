"""The micro batch that fits the machine: the largest divisor of the batch, and what it needs.

Invariant: the prediction is for the longest rows of the data, taken together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapterworks.builders.methods import METHODS
from adapterworks.builders.methods.shape import BaseShape
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.plan.facts import DataFacts
from adapterworks.builders.plan.generation import learnt_together, with_sampling
from adapterworks.builders.plan.load import Load
from adapterworks.builders.plan.machine import Machine, Precision
from adapterworks.builders.plan.memory import Memory, anchored, predict_memory
from adapterworks.builders.plan.occupied import USABLE, Occupied, gib
from adapterworks.builders.plan.packing import packs_ahead
from adapterworks.builders.plan.sharding import in_parts
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.models import Manifest

BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2, "fp16": 2}
"""Of a weight or an activation."""
# Larger micro batches gain nothing on a CPU and cost memory; a GPU wants them.
_MICRO_TOKENS = {"cpu": 1024, "cuda": 16384}


def largest(
    data: DataFacts,
    rows: int,
    *,
    shared: int,
    packed: bool,
    ahead: bool = False,
    grouped: bool = False,
) -> Load:
    """The micro batch of the longest examples.

    Args:
        packed: its rows are one sequence.
        ahead: its examples are sequences of several rows already, and stand side by side.
        grouped: its examples are answers to one prompt, which is there once.
    """
    lengths = sorted(data.lengths, reverse=True)[:rows]
    supervised = sorted(data.supervised, reverse=True)[:rows]
    sequences = rows * data.sequences
    if ahead:
        return Load(rows, rows * lengths[0], sum(supervised), 1, mask=lengths[0], masks=rows)
    if grouped:
        tokens = data.longest_sequence + (rows - 1) * supervised[0]
        return Load(sequences, tokens, rows * supervised[0], 1, mask=tokens)
    if shared or packed:
        once = (len(lengths) * data.sequences - 1) * shared
        tokens = sum(lengths) - once
        masked = shared or sequences > 1
        return Load(sequences, tokens, sum(supervised), 1, mask=tokens if masked else 0)
    longest, learnt = data.longest_sequence, sum(supervised)
    uneven = sequences > 1 and (data.sequences > 1 or min(data.lengths) < longest)
    mask, masks = (longest, sequences) if uneven else (0, 1)
    return Load(sequences, sequences * longest, learnt, sequences, mask=mask, masks=masks)


def fit(
    manifest: Manifest,
    shape: BaseShape,
    machine: Machine,
    data: DataFacts,
    shared: int,
    trainable: int,
    precision: Precision,
    taught: int = 0,
    group: int = 1,
) -> tuple[int, Memory]:
    """The micro batch (a divisor of the batch, or of a group) and its memory.

    Args:
        taught: parameters of a teacher that are in memory beside the base.
        group: answers to one prompt, of which each micro batch is an equal part.

    Raises:
        Refused: not even one row fits this machine.
        Occupied: one would, if others held less of its memory.
    """
    predict = _Predict(manifest, shape, machine, data, shared, trainable, precision, taught, group)
    candidates = _micro_batches(manifest, machine, data, group)
    # The processes of a CPU share its memory.
    sharing = manifest.train.processes if machine.device == "cpu" else 1
    own, most = machine.memory // sharing, machine.most // sharing
    room = int(own * USABLE)
    for micro in candidates:
        memory = predict(micro)
        if memory.total <= room:
            return micro, memory
    micro, smallest = candidates[-1], predict(candidates[-1])
    several = manifest.train.processes > 1
    if smallest.total <= int(most * USABLE):
        raise Occupied.of(
            f"training needs {gib(smallest.total)} at a micro batch of {micro}"
            + (" in each process" if several else ""),
            size=smallest.total * sharing,
            free=own,
            total=most,
            hint=_what_would_fit(predict, room) + _terms(smallest),
        )
    room = int(most * USABLE)
    taken = f", of which a plan takes {gib(room)}" if smallest.total <= most else ""
    raise Refused(
        f"training needs {gib(smallest.total)} at a micro batch of {micro}, "
        f"and this machine has {gib(most)}{' free' if most == own else ''}"
        f"{' for each process' if several else ''}{taken}",
        hint=_what_would_fit(predict, room) + _terms(smallest),
    )


@dataclass(frozen=True, slots=True)
class _Predict:
    """The memory of a training by its micro batch; what is given is as of `fit`."""

    manifest: Manifest
    shape: BaseShape
    machine: Machine
    data: DataFacts
    shared: int
    trainable: int
    precision: Precision
    taught: int
    group: int

    def __call__(self, rows: int) -> Memory:
        manifest, shape, trainable = self.manifest, self.shape, self.trainable
        objective, width = objective_of(manifest), BYTES[self.precision]
        packed, ahead = manifest.train.packing, packs_ahead(manifest)
        grouped = self.group > 1
        load = largest(
            self.data, rows, shared=self.shared, packed=packed, ahead=ahead, grouped=grouped
        )
        accumulates = rows * manifest.train.processes < learnt_together(manifest)
        load = replace(load, accumulates=accumulates, taught=objective.taught)
        memory = predict_memory(
            manifest, shape, load, self.machine.device, trainable=trainable, width=width
        )
        held = width * self.taught + objective.held(trainable) + anchored(manifest, trainable)
        memory = replace(memory, held=held)
        memory = in_parts(memory, shape, manifest, trainable=trainable, width=width)
        return with_sampling(memory, manifest, shape, self.machine, self.data, width)


def _micro_batches(
    manifest: Manifest, machine: Machine, data: DataFacts, group: int
) -> Sequence[int]:
    """Those that are tried, the largest first."""
    if fixed := manifest.train.micro_batch_size:
        return [fixed]
    tokens, longest = _MICRO_TOKENS[machine.device], max(data.lengths)
    if group > 1:
        limit = 1 + max(0, tokens - longest) // max(data.supervised)
        whole = group
    else:
        limit = max(1, tokens // longest)
        whole = manifest.train.batch_size
    divisors = [n for n in range(whole, 0, -1) if whole % n == 0]
    share = max(1, whole // manifest.train.processes)
    return [n for n in divisors if n <= min(limit, share)]


def _what_would_fit(predict: _Predict, room: int) -> str:
    """The first change of the manifest whose prediction fits."""
    manifest = predict.manifest
    train, technique = manifest.train, METHODS[manifest.method.kind]
    options: list[tuple[str, Manifest]] = []
    if not train.gradient_checkpointing and technique.gradient_checkpointing:
        changed = train.model_copy(update={"gradient_checkpointing": True})
        options.append(
            (
                "`train.gradient_checkpointing = true`",
                manifest.model_copy(update={"train": changed}),
            )
        )
    if train.processes > 1 and train.sharding != "fsdp" and technique.shards:
        changed = train.model_copy(update={"sharding": "fsdp"})
        options.append(
            ('`train.sharding = "fsdp"`', manifest.model_copy(update={"train": changed}))
        )
    for other in METHODS.listing():
        if other.value is not None and other.value.lightens is type(manifest.method):
            table = other.value.adopt(manifest.method)
            changed_method = manifest.model_copy(update={"method": table})
            options.append((f'`method.kind = "{other.name}"`', changed_method))
    for text, candidate in options:
        needed = replace(predict, manifest=candidate)(1).total
        if needed <= room:
            return f"{text} would fit with {gib(needed)}; "
    return f"{technique.relief}; "


def _terms(memory: Memory) -> str:
    parts = {k: v for k, v in memory.to_json().items() if k != "total"}
    return ", ".join(f"{name} {gib(size)}" for name, size in parts.items())
