"""Encoded examples on disk, and the order in which training sees them.

Invariant: the batch of a step is a pure function of (lengths, batch size, seed, step), so a resumed
training continues with the very examples an interrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from adapterworks.builders.objectives.batch import TokenSequence
from adapterworks.builders.objectives.examples import Example

# Rows are sorted by length within this many batches: enough to remove most padding, few enough to
# keep batches mixed.
_BUCKET = 16


@dataclass(frozen=True)
class EncodedSet:
    """The examples of one split.

    Attributes:
        examples: each one's sequences.
        counts: what each adds to the number that a step's loss is divided by.
    """

    examples: tuple[tuple[TokenSequence, ...], ...]
    counts: tuple[float, ...]
    lengths: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        lengths = tuple(sum(len(s.input_ids) for s in example) for example in self.examples)
        object.__setattr__(self, "lengths", lengths)

    def __len__(self) -> int:
        return len(self.examples)

    def chosen(self, indices: Sequence[int]) -> list[tuple[TokenSequence, ...]]:
        """The examples of these numbers."""
        return [self.examples[index] for index in indices]

    def with_column(self, name: str, values: Sequence[torch.Tensor]) -> EncodedSet:
        """The same examples with a further column: a tensor for each sequence, in order."""
        given = iter(values)
        examples = tuple(
            tuple(
                replace(sequence, columns={**sequence.columns, name: next(given)})
                for sequence in example
            )
            for example in self.examples
        )
        return EncodedSet(examples, self.counts)


def save_encoded(path: Path, sets: Mapping[str, Sequence[Example]]) -> None:
    """Write encoded splits to one safetensors file: flat tensors and where each part begins.

    `SPLIT.input_ids`, `.labels` (int32) and `.column.NAME` (float32) are one value a token,
    `.value.NAME` (float32) one a sequence, `.counts` (float64) one an example; `.offsets` and
    `.examples` (int64) say where sequences begin among the tokens, and examples among those.
    """
    tensors = {}
    for split, examples in sets.items():
        sequences = [sequence for example in examples for sequence in example.sequences]
        flat_ids = [token for sequence in sequences for token in sequence.input_ids]
        flat_labels = [token for sequence in sequences for token in sequence.labels]
        tensors[f"{split}.input_ids"] = torch.tensor(flat_ids, dtype=torch.int32)
        tensors[f"{split}.labels"] = torch.tensor(flat_labels, dtype=torch.int32)
        tensors[f"{split}.offsets"] = _offsets([len(s.input_ids) for s in sequences])
        tensors[f"{split}.examples"] = _offsets([len(e.sequences) for e in examples])
        counts = [example.count for example in examples]
        tensors[f"{split}.counts"] = torch.tensor(counts, dtype=torch.float64)
        for name in sequences[0].columns if sequences else ():
            flat = [value for sequence in sequences for value in sequence.columns[name]]
            tensors[f"{split}.column.{name}"] = torch.tensor(flat, dtype=torch.float32)
        for name in sequences[0].values if sequences else ():
            values = [sequence.values[name] for sequence in sequences]
            tensors[f"{split}.value.{name}"] = torch.tensor(values, dtype=torch.float32)
    save_file(tensors, path)


def load_encoded(path: Path) -> dict[str, EncodedSet]:
    """Read what `save_encoded` wrote."""
    tensors = load_file(path)
    sets = {}
    for split in {key.partition(".")[0] for key in tensors}:
        ids = tensors[f"{split}.input_ids"].long()
        labels = tensors[f"{split}.labels"].long()
        columns = _named(tensors, f"{split}.column.")
        values = _named(tensors, f"{split}.value.")
        sequences = [
            TokenSequence(
                ids[start:stop],
                labels[start:stop],
                {name: column[start:stop] for name, column in columns.items()},
                {name: float(value[number]) for name, value in values.items()},
            )
            for number, (start, stop) in enumerate(pairwise(tensors[f"{split}.offsets"].tolist()))
        ]
        examples = pairwise(tensors[f"{split}.examples"].tolist())
        sets[split] = EncodedSet(
            tuple(tuple(sequences[start:stop]) for start, stop in examples),
            tuple(tensors[f"{split}.counts"].tolist()),
        )
    return sets


def _offsets(lengths: Sequence[int]) -> torch.Tensor:
    return torch.cat((torch.zeros(1, dtype=torch.int64), torch.tensor(lengths).cumsum(0).long()))


def _named(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {
        key.removeprefix(prefix): tensor
        for key, tensor in sorted(tensors.items())
        if key.startswith(prefix)
    }


def epoch_batches(
    lengths: Sequence[int], batch_size: int, *, group: bool, seed: int, epoch: int
) -> list[list[int]]:
    """The effective batches of one epoch as indices of examples, every one exactly once."""
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
