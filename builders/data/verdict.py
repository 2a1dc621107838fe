"""A verdict: a conversation with an answer, then the question whether that was a good one.

A reward release answers it. It is asked so in its training, in its evaluation, as a reward of
another training and at a gateway alike; its reward is the log-probability of `yes` less that of
`no`, a difference of two logits, so that a release of a reward is an adapter like any other.

Invariant: the turns before the verdict's question are the row's own, to the letter.
"""

from __future__ import annotations

from adapterworks.builders.data.rows import Message, Row

QUESTION = "Is that a good answer? Reply with one word, yes or no."
GOOD, BAD = "yes", "no"


def with_verdict(row: Row, number: int, verdict: str) -> Row:
    """The conversation with one of a row's answers (0 is its own), judged; the verdict alone is
    learnt."""
    judged = row.answered(number)
    turns: list[Message] = [
        {**turn, "weight": 0.0} if turn["role"] == "assistant" else turn for turn in judged.messages
    ]
    turns += [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": verdict}]
    return Row(tuple(turns), row.meta, tools=row.tools)
