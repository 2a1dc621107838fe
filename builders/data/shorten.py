"""A conversation that is too long, without what came first: still one that the template writes.

What every prompt of the conversation begins with, its system turn and the opening of the turn
behind it, is its head and stays. Behind it the first question loses its beginning; where that is
not enough, the earliest questions go whole with their answers; and where the last one alone is too
long, it loses its beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from adapterworks.builders.data.chat import Span, template, tokenize
from adapterworks.builders.data.rows import Row

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A head that takes more of the room than this leaves too little of the question: it is cut too.
HEAD_SHARE = 0.75
_BETWEEN = 2  # tokens that a template may write between turns


def shortened(
    tokenizer: PreTrainedTokenizerBase,
    row: Row,
    ids: Sequence[int],
    spans: Sequence[Span],
    room: int,
) -> tuple[int, int]:
    """What stays of a prompt: `ids[:head]` and what is from `first` on.

    Args:
        ids: of the whole conversation.
        spans: of its answers that are learnt; the last one is the one asked for.
        room: tokens for the prompt, fewer than it has.

    Returns:
        (head, first); the head is 0 where it leaves no room for a question and an answer's opening.
    """
    answer = spans[-1].start
    if answer <= room:
        return 0, 0
    head, question = _head(tokenizer, row, ids)
    if head == 0 or head > room * HEAD_SHARE:
        return 0, answer - room
    first = answer - (room - head)
    if first <= head + question:
        return head, first
    begins = [head, *_contents(ids, head, spans)]
    fitting = [begin for begin in begins if begin >= first]
    if fitting:
        return head, fitting[0]
    last = tokenize(tokenizer, [row.prompt[-1]["content"]])[0]
    if first > begins[-1] + len(last):  # even the answer's opening would be cut
        return 0, answer - room
    return head, first


def _head(tokenizer: PreTrainedTokenizerBase, row: Row, ids: Sequence[int]) -> tuple[int, int]:
    """Tokens that the conversation begins with whatever it asks first; tokens of that question."""
    asked = next((i for i, turn in enumerate(row.messages) if turn["role"] != "system"), 0)
    texts = []
    for other in ("a", "b"):
        turns = [*row.messages]
        turns[asked] = turns[asked].copy()
        turns[asked]["content"] = other
        texts.append(template(tokenizer, turns, False, row.tools))
    differ = (i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b)
    begin, question = tokenize(
        tokenizer, [texts[0][: next(differ, 0)], row.messages[asked]["content"]]
    )
    return _same(begin, ids), len(question)


def _same(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _contents(ids: Sequence[int], head: int, spans: Sequence[Span]) -> Iterator[int]:
    """Where the content of each later question begins: behind an opening as the head ends with."""
    for span in spans[:-1]:
        for start in range(span.stop, min(span.stop + _BETWEEN, len(ids)) + 1):
            longest = min(head, len(ids) - start)
            same = (n for n in range(longest, 0, -1) if ids[head - n : head] == ids[start:][:n])
            if overlap := next(same, 0):
                yield start + overlap
                break
