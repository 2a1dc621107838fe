"""Verdicts as sequences: one token with a label, and the token it is weighed against.

Invariant: a sequence ends with the first token of the verdict. Its reward is log p(`yes`) −
log p(`no`) of that place, which no softmax changes: (w_yes − w_no)·h of the language head, a reward
head that is there already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from adapterworks.builders.data.render import IGNORED, Encoded, render_prompt
from adapterworks.builders.data.rows import Message, Row
from adapterworks.builders.data.verdict import BAD, GOOD, QUESTION, with_verdict
from adapterworks.builders.objectives.batch import CONTRAST
from adapterworks.builders.objectives.examples import encode_alike
from adapterworks.manifests.errors import InvalidInput

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Tokens of the verdict itself, with the end of its turn, at most.
_VERDICT = 16


def encode_verdicts(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    max_length: int,
    answers: int,
    groups: Sequence[int] | None = None,
) -> list[tuple[Encoded, ...]]:
    """Per row, the sequences of its first `answers` answers up to the verdict, the best first.

    Args:
        max_length: tokens of a row; the verdict's question comes on top of it, so that no answer is
            cut for it.
        groups: of each row, which others its answers are compared with; none if not given.

    Raises:
        InvalidInput: this tokenizer does not tell the two verdicts apart by their first token.
    """
    asked: Message = {"role": "user", "content": QUESTION}
    longest = max_length + len(render_prompt(tokenizer, [asked])) + _VERDICT
    parts = [
        [with_verdict(row, number, said) for row in rows]
        for number in range(answers)
        for said in (GOOD, BAD)
    ]
    encoded = encode_alike(tokenizer, parts, groups or range(len(rows)), longest)
    verdicts = [
        [_up_to_verdict(*both) for both in zip(good, bad, strict=True)]
        for good, bad in zip(encoded[::2], encoded[1::2], strict=True)
    ]
    return list(zip(*verdicts, strict=True))


def _up_to_verdict(good: Encoded, bad: Encoded) -> Encoded:
    at = next(place for place, label in enumerate(good.labels) if label != IGNORED)
    one, other = (sequence.input_ids[at] for sequence in (good, bad))
    if one == other or good.input_ids[:at] != bad.input_ids[:at]:
        raise InvalidInput(
            f"`{GOOD}` and `{BAD}` begin with the same token in this base's tokenizer, so there is "
            "no verdict to read a reward from",
            hint="train the reward on another base",
        )
    nothing = [0.0] * at
    return Encoded(
        good.input_ids[: at + 1],
        [IGNORED] * at + [one],
        good.row,
        columns={CONTRAST: [*nothing, float(other)]},
        cut_prompt=good.cut_prompt,
    )


def with_value(sequence: Encoded, name: str, value: float) -> Encoded:
    """The sequence with a further value."""
    return replace(sequence, values={**sequence.values, name: value})
