"""Encoded rows on disk, and the order in which training sees them.

Invariant: the batch of a step is a pure function of (lengths, batch size, seed, step), so a resumed
training continues with the very rows an interrupted one would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from adapterworks.builders.data.render import IGNORED, Encoded

# Rows are sorted by length within this many batches: enough to remove most padding, few enough to
# keep batches mixed.
_BUCKET = 16


@dataclass(frozen=True)
class EncodedSet:
    """Sequences of token ids and labels; `labels[i][t]` is −100 where token t is not learnt."""

    input_ids: tuple[torch.Tensor, ...]
    labels: tuple[torch.Tensor, ...]

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def lengths(self) -> list[int]:
        return [len(ids) for ids in self.input_ids]


@dataclass(frozen=True)
class Batch:
    """One micro batch.

    Attributes:
        input_ids: [rows, length] int64, padded on the right.
        labels: the same shape.
        attention_mask: the same shape; None when packed; see `shared_prefix.py` for its own.
        position_ids: [1, length] when several rows are one sequence, counted in each; else None.
    """

    input_ids: torch.Tensor
    labels: torch.Tensor
    attention_mask: torch.Tensor | None
    position_ids: torch.Tensor | None

    def to(self, device: torch.device | str) -> Batch:
        return Batch(
            self.input_ids.to(device),
            self.labels.to(device),
            None if self.attention_mask is None else self.attention_mask.to(device),
            None if self.position_ids is None else self.position_ids.to(device),
        )


def save_encoded(path: Path, sets: Mapping[str, Sequence[Encoded]]) -> None:
    """Write encoded splits to one safetensors file (flat tensors and offsets, int32)."""
    tensors = {}
    for name, rows in sets.items():
        offsets = [0]
        for row in rows:
            offsets.append(offsets[-1] + len(row.input_ids))
        flat_ids = [token for row in rows for token in row.input_ids]
        flat_labels = [token for row in rows for token in row.labels]
        tensors[f"{name}.input_ids"] = torch.tensor(flat_ids, dtype=torch.int32)
        tensors[f"{name}.labels"] = torch.tensor(flat_labels, dtype=torch.int32)
        tensors[f"{name}.offsets"] = torch.tensor(offsets, dtype=torch.int64)
    save_file(tensors, path)


def load_encoded(path: Path) -> dict[str, EncodedSet]:
    """Read what `save_encoded` wrote."""
    tensors = load_file(path)
    sets = {}
    for name in {key.partition(".")[0] for key in tensors}:
        offsets = tensors[f"{name}.offsets"].tolist()
        ids = tensors[f"{name}.input_ids"].long()
        labels = tensors[f"{name}.labels"].long()
        spans = list(pairwise(offsets))
        sets[name] = EncodedSet(
            tuple(ids[a:b] for a, b in spans), tuple(labels[a:b] for a, b in spans)
        )
    return sets


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Optimizer steps that see every row once; the last batch may be smaller."""
    return math.ceil(rows / batch_size)


def epoch_batches(
    lengths: Sequence[int], batch_size: int, *, group: bool, seed: int, epoch: int
) -> list[list[int]]:
    """The effective batches of one epoch as row indices, every row exactly once."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order: list[int] = torch.randperm(len(lengths), generator=generator).tolist()
    if group:
        bucket = batch_size * _BUCKET
        order = [
            index
            for start in range(0, len(order), bucket)
            for index in sorted(order[start : start + bucket], key=lambda i: -lengths[i])
        ]
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if group:
        shuffled = torch.randperm(len(batches), generator=generator).tolist()
        batches = [batches[index] for index in shuffled]
    return batches


def collate(rows: EncodedSet, indices: Sequence[int], *, pad: int, packed: bool) -> Batch:
    """One micro batch of the given rows."""
    ids = [rows.input_ids[index] for index in indices]
    labels = [rows.labels[index] for index in indices]
    if packed:
        # The first label of a sequence would be predicted from the sequence before it.
        masked = [torch.cat((torch.tensor([IGNORED]), label[1:])) for label in labels]
        positions = torch.cat([torch.arange(len(sequence)) for sequence in ids])
        return Batch(torch.cat(ids)[None], torch.cat(masked)[None], None, positions[None])
    length = max(len(sequence) for sequence in ids)
    input_ids = torch.full((len(ids), length), pad)
    targets = torch.full((len(ids), length), IGNORED)
    mask = torch.zeros((len(ids), length), dtype=torch.long)
    for row, (sequence, label) in enumerate(zip(ids, labels, strict=True)):
        input_ids[row, : len(sequence)] = sequence
        targets[row, : len(label)] = label
        mask[row, : len(sequence)] = 1
    return Batch(input_ids, targets, mask, None)
