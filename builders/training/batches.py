"""Encoded examples on disk, and the order in which training sees them.

Invariant: the batch of a step is a pure function of (lengths, batch size, seed, step), so a resumed
training continues with the very examples an interrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path

import torch

from adapterworks.builders.objectives.batch import TokenSequence
from adapterworks.builders.plan.packing import best_fit
from adapterworks.builders.training.encoded_file import load_mapped
from adapterworks.builders.training.encoded_file import save_encoded as save_encoded
from adapterworks.builders.training.on_demand import OnDemand

# Rows are sorted by length within this many batches: enough to remove most padding, few enough to
# keep batches mixed.
_BUCKET = 16


class _Packs(OnDemand):
    """Examples put together, made when they are asked for.

    Args:
        examples: what they are made of.
        lengths: tokens of each.
        packs: the numbers of those that go together.
    """

    def __init__(
        self,
        examples: Sequence[tuple[TokenSequence, ...]],
        lengths: Sequence[int],
        packs: Sequence[Sequence[int]],
    ) -> None:
        self._examples, self._packs = examples, packs
        self._lengths = tuple(sum(lengths[index] for index in pack) for pack in packs)

    def lengths(self) -> tuple[int, ...]:
        """Tokens of each."""
        return self._lengths

    def __len__(self) -> int:
        return len(self._packs)

    def example(self, index: int) -> tuple[TokenSequence, ...]:
        """See `OnDemand`."""
        return tuple(s for number in self._packs[index] for s in self._examples[number])


class _WithColumn(OnDemand):
    """Examples with a further column, which each gets when it is asked for.

    Args:
        examples: what the column is added to.
        lengths: tokens of each.
        name: of the column.
        values: [tokens, …] of all of them, end to end; may be mapped.
    """

    def __init__(
        self,
        examples: Sequence[tuple[TokenSequence, ...]],
        lengths: tuple[int, ...],
        name: str,
        values: torch.Tensor,
    ) -> None:
        if len(values) != sum(lengths):
            raise ValueError(f"a column of {len(values)} values for {sum(lengths)} tokens")
        self._examples, self._lengths, self._name, self._values = examples, lengths, name, values
        self._begins = [*accumulate(lengths, initial=0)]

    def lengths(self) -> tuple[int, ...]:
        """Tokens of each."""
        return self._lengths

    def __len__(self) -> int:
        return len(self._examples)

    def example(self, index: int) -> tuple[TokenSequence, ...]:
        """See `OnDemand`."""
        found, start = [], self._begins[index]
        for sequence in self._examples[index]:
            stop = start + len(sequence.input_ids)
            column = self._values[start:stop].clone()
            found.append(replace(sequence, columns={**sequence.columns, self._name: column}))
            start = stop
        return tuple(found)


@dataclass(frozen=True)
class EncodedSet:
    """The examples of one split.

    Attributes:
        examples: each one's sequences; those of a file are made when they are asked for.
        counts: what each adds to the number that a step's loss is divided by.
    """

    examples: Sequence[tuple[TokenSequence, ...]]
    counts: tuple[float, ...]
    lengths: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        lengths = (
            self.examples.lengths()
            if isinstance(self.examples, OnDemand)
            else tuple(sum(len(s.input_ids) for s in example) for example in self.examples)
        )
        object.__setattr__(self, "lengths", lengths)

    def __len__(self) -> int:
        return len(self.examples)

    def chosen(self, indices: Sequence[int]) -> list[tuple[TokenSequence, ...]]:
        """The examples of these numbers."""
        return [self.examples[index] for index in indices]

    def in_packs(self, most: int) -> EncodedSet:
        """The examples put together: each of these has the sequences of several of those.

        Args:
            most: tokens of one.
        """
        packs = best_fit(self.lengths, most)
        counts = tuple(sum(self.counts[index] for index in pack) for pack in packs)
        return EncodedSet(_Packs(self.examples, self.lengths, packs), counts)

    def with_column(self, name: str, values: torch.Tensor) -> EncodedSet:
        """The same examples with a further column; nothing is read of them for it.

        Args:
            values: [tokens of all sequences, end to end, …].

        Raises:
            ValueError: there are more or fewer values than tokens.
        """
        examples = _WithColumn(self.examples, self.lengths, name, values)
        return EncodedSet(examples, self.counts)


def load_encoded(path: Path) -> dict[str, EncodedSet]:
    """Read what `save_encoded` wrote."""
    return {split: EncodedSet(found, found.counts) for split, found in load_mapped(path).items()}


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
