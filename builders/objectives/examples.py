"""The training example: what an objective makes of a row, before it is tensors.

Invariant: an example is what is shuffled, counted and put into batches; its sequences stay
together. All examples of one training have as many sequences and the same named columns.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from adapterworks.builders.data.render import IGNORED, Encoded, encode_rows
from adapterworks.builders.data.rows import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


_WHOLE = sys.maxsize


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
    All stand behind the same prompt.

    Raises:
        InvalidInput: an answer has no supervised token, or the tokenizer has no chat template.
    """
    parts = [[row.answered(number) for row in rows] for number in range(answers)]
    encoded = encode_alike(tokenizer, parts, range(len(rows)), max_length)
    return list(zip(*encoded, strict=True))


def encode_alike(
    tokenizer: PreTrainedTokenizerBase,
    parts: Sequence[Sequence[Row]],
    groups: Sequence[int],
    max_length: int,
) -> list[list[Encoded]]:
    """Rows that are compared with each other, in the shape of `parts`: where one of a group is too
    long, all of it lose what that one loses of its prompt. Else the longer answers of a comparison
    would be those to the poorer questions.

    Args:
        parts: several lists of rows, all of one length.
        groups: for each place of such a list, what it is compared within.

    Raises:
        InvalidInput: an answer has no supervised token, or the tokenizer has no chat template.
    """
    encoded = [encode_rows(tokenizer, rows, max_length) for rows in parts]
    cut = {
        group
        for part in encoded
        for group, one in zip(groups, part, strict=True)
        if one.cut or one.cut_prompt
    }
    places = [
        (part, place)
        for part in range(len(parts))
        for place, group in enumerate(groups)
        if group in cut
    ]
    rows = [parts[part][place] for part, place in places]
    longest: dict[int, int] = {}
    for (_, place), whole in zip(places, encode_rows(tokenizer, rows, _WHOLE), strict=True):
        group = groups[place]
        longest[group] = max(longest.get(group, 0), len(whole.input_ids))
    lengths = [longest[groups[place]] for _, place in places]
    again = encode_rows(tokenizer, rows, max_length, lengths=lengths)
    for (part, place), one in zip(places, again, strict=True):
        encoded[part][place] = replace(one, row=place)
    return encoded


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], max_length: int
) -> list[Encoded]:
    """Per row what it asks, of at most `max_length` tokens with the first one of its own answer,
    which alone has a label: answers are sampled behind it.

    Raises:
        InvalidInput: an answer has no token, or the tokenizer has no chat template.
    """
    return encode_rows(tokenizer, [row.answered(0) for row in rows], max_length, asked=True)
