"""Micro batches: sequences side by side (padded), end to end (packed), or behind what they share.

Invariant: whatever the layout, a token sees its own sequence's past and nothing else, and every
label says which sequence it belongs to; so scores do not depend on the layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from adapterworks.builders.data.prefix import common_prefix
from adapterworks.builders.data.render import IGNORED

if TYPE_CHECKING:
    import torch

# The column of a token that is weighed against a label: here its id, in scores its log-probability.
CONTRAST = "contrast"
# The column of a teacher's last hidden states, each before the token where it stands.
TEACHER = "teacher"


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One sequence as tensors.

    Attributes:
        input_ids: [length] int64.
        labels: [length] int64; −100 where a token is not learnt.
        columns: further values of each token by name, [length, …] float32; what stands at position
            t belongs to token t, as a label does.
        values: further values of the sequence by name.
    """

    input_ids: torch.Tensor
    labels: torch.Tensor
    columns: Mapping[str, torch.Tensor] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro batch.

    Attributes:
        input_ids: [rows, length] int64, padded on the right.
        labels: the same shape.
        owners: the same shape: which sequence a token belongs to (anything where there is no
            label).
        sequences: how many sequences there are.
        attention_mask: [rows, length]; None when packed; boolean [1, 1, length, length] behind a
            shared beginning, True where a token sees another.
        position_ids: [rows, length] when a row has several sequences, counted in each; else None.
        columns: further values of each token by name, [rows, length, …] float32.
        values: further values of each sequence by name, [sequences] float32.
    """

    input_ids: torch.Tensor
    labels: torch.Tensor
    owners: torch.Tensor
    sequences: int
    attention_mask: torch.Tensor | None
    position_ids: torch.Tensor | None
    columns: Mapping[str, torch.Tensor] = field(default_factory=dict)
    values: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        return replace(
            self,
            input_ids=self.input_ids.to(device),
            labels=self.labels.to(device),
            owners=self.owners.to(device),
            attention_mask=_moved(self.attention_mask, device),
            position_ids=_moved(self.position_ids, device),
            columns={name: column.to(device) for name, column in self.columns.items()},
            values={name: value.to(device) for name, value in self.values.items()},
        )


def padded(sequences: Sequence[TokenSequence], pad: int) -> Batch:
    """A row a sequence, padded on the right with `pad`."""
    import torch

    length = max(len(sequence.input_ids) for sequence in sequences)
    shape = (len(sequences), length)
    input_ids, labels = torch.full(shape, pad), torch.full(shape, IGNORED)
    mask = torch.zeros(shape, dtype=torch.long)
    columns = {
        name: torch.zeros(*shape, *column.shape[1:])
        for name, column in sequences[0].columns.items()
    }
    for row, sequence in enumerate(sequences):
        end = len(sequence.input_ids)
        input_ids[row, :end] = sequence.input_ids
        labels[row, :end] = sequence.labels
        mask[row, :end] = 1
        for name, column in columns.items():
            column[row, :end] = sequence.columns[name]
    owners = torch.arange(len(sequences))[:, None].expand(shape)
    return Batch(input_ids, labels, owners, len(sequences), mask, None, columns, _values(sequences))


def packed(sequences: Sequence[TokenSequence]) -> Batch:
    """All sequences in one row, end to end; positions begin anew in each."""
    import torch

    positions = torch.cat([torch.arange(len(sequence.input_ids)) for sequence in sequences])
    # The first label of a sequence would be predicted from the sequence before it.
    return _one_row(sequences, positions, None, skip=0)


def packed_rows(sequences: Sequence[TokenSequence], sizes: Sequence[int], pad: int) -> Batch:
    """Rows of several sequences each, side by side; positions begin anew in each sequence.

    What a row is filled up with counts as a sequence of its own, which nobody sees.

    Args:
        sizes: how many sequences each row has.
        pad: the token id that rows are filled up with.
    """
    import torch

    rows, taken = [], 0
    for size in sizes:
        rows.append(packed(sequences[taken : taken + size]))
        taken += size
    length = max(row.input_ids.shape[1] for row in rows)

    def joined(of: Callable[[Batch], torch.Tensor], fill: float) -> torch.Tensor:
        return torch.cat([_filled(of(row), length, fill) for row in rows])

    first = torch.tensor([0, *sizes[:-1]]).cumsum(0)
    owners = joined(lambda row: row.owners, 0) + first[:, None]
    positions = []
    for row in rows:
        assert row.position_ids is not None
        left = length - row.position_ids.shape[1]
        positions.append(torch.cat((row.position_ids, torch.arange(left)[None]), dim=1))
    return Batch(
        joined(lambda row: row.input_ids, pad),
        joined(lambda row: row.labels, IGNORED),
        owners,
        len(sequences),
        None,
        torch.cat(positions),
        {
            name: joined(lambda row, name=name: row.columns[name], 0.0)  # type: ignore[misc]
            for name in sequences[0].columns
        },
        _values(sequences),
    )


def _filled(row: torch.Tensor, length: int, fill: float) -> torch.Tensor:
    import torch

    return torch.nn.functional.pad(row, (0, length - row.shape[1]), value=fill)


def behind_shared(sequences: Sequence[TokenSequence]) -> Batch:
    """What all sequences begin with, once, then each one's own tokens.

    A sequence's tokens see the shared ones and their own past, at the positions they have alone.
    No shared token has a label.
    """
    import torch

    shared = common_prefix(
        [sequence.input_ids.tolist() for sequence in sequences],
        [sequence.labels.tolist() for sequence in sequences],
    )
    own = [len(sequence.input_ids) - shared for sequence in sequences]
    # Group 0 is the shared part, which every group sees.
    groups = torch.cat(
        [torch.zeros(shared, dtype=torch.long)]
        + [torch.full((length,), number) for number, length in enumerate(own, start=1)]
    )
    past = torch.ones(len(groups), len(groups), dtype=torch.bool).tril()
    seen = past & ((groups[None, :] == groups[:, None]) | (groups[None, :] == 0))
    positions = torch.cat(
        [torch.arange(shared), *(torch.arange(shared, shared + length) for length in own)]
    )
    return _one_row(sequences, positions, seen[None, None], skip=shared)


def _one_row(
    sequences: Sequence[TokenSequence],
    positions: torch.Tensor,
    mask: torch.Tensor | None,
    *,
    skip: int,
) -> Batch:
    """Sequences in one row; the first `skip` tokens, which all have in common, are there once.

    The first label of what is a sequence's own is masked: what stands before it in the row is
    another sequence's end.
    """
    import torch

    def joined(
        parts: Callable[[TokenSequence], torch.Tensor], shared: torch.Tensor
    ) -> torch.Tensor:
        return torch.cat([shared, *(parts(sequence)[skip:] for sequence in sequences)])[None]

    def labels(sequence: TokenSequence) -> torch.Tensor:
        masked = sequence.labels.clone()
        masked[skip] = IGNORED
        return masked

    owners = [
        torch.full((len(sequence.input_ids) - skip,), number)
        for number, sequence in enumerate(sequences)
    ]
    return Batch(
        joined(lambda sequence: sequence.input_ids, sequences[0].input_ids[:skip]),
        joined(labels, torch.full((skip,), IGNORED)),
        torch.cat([torch.zeros(skip, dtype=torch.long), *owners])[None],
        len(sequences),
        mask,
        positions[None],
        {
            name: joined(
                lambda sequence, name=name: sequence.columns[name],  # type: ignore[misc]
                torch.zeros(skip, *column.shape[1:]),
            )
            for name, column in sequences[0].columns.items()
        },
        _values(sequences),
    )


def _values(sequences: Sequence[TokenSequence]) -> dict[str, torch.Tensor]:
    import torch

    return {
        name: torch.tensor([sequence.values[name] for sequence in sequences])
        for name in sequences[0].values
    }


def _moved(tensor: torch.Tensor | None, device: torch.device | str) -> torch.Tensor | None:
    return None if tensor is None else tensor.to(device)
