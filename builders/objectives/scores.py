"""Scores: what a model says of a micro batch, one value for each supervised token.

Invariant: flat, whatever the batch's layout was; tokens stand in the order of their sequences, and
an example's sequences stand beside each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Scores:
    """What an objective sees of a micro batch.

    Attributes:
        logprobs: [tokens] float32, log-probabilities of the supervised tokens, in nats.
        owners: [tokens] int64, which sequence each belongs to.
        sequences: how many sequences there are; example i has those from i·k to (i + 1)·k − 1,
            where k is the objective's `sequences`.
        columns: [tokens] float32 by name: the columns that `encode` gave, and `reference` for an
            objective that asks for it; `contrast` as log-probabilities, differentiable.
        uniform: [tokens] float32, the mean of all words' log-probabilities where each token stands;
            only for an objective that smooths its labels.
        values: [sequences] float32 by name: the values that `encode` gave.
        beforehand: what was found for the whole step before its losses, by name.
        expected: [tokens] float32, what reward the value head expects to come from each token on,
            differentiable; only for an objective with a `critic`.
        apart: [tokens] float32, how far from the teacher's the distribution is that each token was
            drawn from, in nats, differentiable; only for an objective with a teacher.
    """

    logprobs: torch.Tensor
    owners: torch.Tensor
    sequences: int
    columns: Mapping[str, torch.Tensor] = field(default_factory=dict)
    values: Mapping[str, torch.Tensor] = field(default_factory=dict)
    uniform: torch.Tensor | None = None
    beforehand: Mapping[str, float] = field(default_factory=dict)
    expected: torch.Tensor | None = None
    apart: torch.Tensor | None = None

    def by_sequence(self, tokens: torch.Tensor) -> torch.Tensor:
        """[tokens] → [sequences]: the sum over each sequence's tokens."""
        return tokens.new_zeros(self.sequences).index_add(0, self.owners, tokens)

    def lengths(self) -> torch.Tensor:
        """[sequences]: the supervised tokens of each."""
        import torch

        return self.by_sequence(torch.ones_like(self.logprobs))
