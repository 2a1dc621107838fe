"""The training example: what an objective makes of a row, before it is tensors.

Invariant: an example is what is shuffled, counted and put into batches; its sequences stay
together. All examples of one training have as many sequences and the same named columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapterworks.builders.data.render import IGNORED, Encoded, encode_rows
from adapterworks.builders.data.rows import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Example:
    """One example.

    Attributes:
        sequences: what the model is run on: one text, a pair of answers, …
        count: what it adds to the number that a step's loss is divided by: supervised tokens, 1 for
            a pair, …
    """

    sequences: tuple[Encoded, ...]
    count: float

    @property
    def row(self) -> int:
        """Index of the row in the rows that were encoded."""
        return self.sequences[0].row

    @property
    def tokens(self) -> int:
        """Tokens of all its sequences."""
        return sum(len(sequence.input_ids) for sequence in self.sequences)

    @property
    def supervised(self) -> int:
        """Tokens with a label, in all its sequences."""
        return sum(label != IGNORED for sequence in self.sequences for label in sequence.labels)


def encode_answers(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], max_length: int, answers: int
) -> list[tuple[Encoded, ...]]:
    """Per row, the sequences of its first `answers` answers, the best first; only they are learnt.

    Raises:
        InvalidInput: an answer has no supervised token, or the tokenizer has no chat template.
    """
    encoded = [
        encode_rows(tokenizer, [row.answered(number) for row in rows], max_length)
        for number in range(answers)
    ]
    return list(zip(*encoded, strict=True))
