"""Answers of a group compared with one another by a judge, each pair in both orders.

Each answer stands beside the next one of its group and the one before it: as many pairs as answers,
which is what a budget bears, and enough to tell who is above the group's mean. A single answer
stands beside the row's own.

Invariant: pure; a verdict that follows the order says nothing of either answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapterworks.builders.data.reasoning import spoken
from adapterworks.builders.data.rows import Row
from adapterworks.builders.endpoints.chat import Answer, Chat
from adapterworks.builders.endpoints.comparing import (
    MATERIAL,
    compared,
    conversation,
    preferred,
    read_verdict,
)
from adapterworks.builders.rewards.abstaining import completed

_TASK = (
    "You compare two answers to the same question. Judge which one helps more: whether it is right "
    "and complete, and does what was asked. Neither the order nor the length of the answers "
    "matters. Say in one or two sentences what decides it, and end with a line that is exactly "
    f"`Verdict: A`, `Verdict: B` or `Verdict: tie`. {MATERIAL}"
)
_TIE = 0.5


@dataclass(frozen=True, slots=True)
class Pairs:
    """What is asked about one group.

    Attributes:
        answers: how many answers are judged.
        places: of each pair, the numbers of its answers; the row's own has the number after them.
        equal: pairs of equal answers, which are ties without a judge.
        chats: two for each of `places`.
    """

    answers: int
    places: tuple[tuple[int, int], ...]
    equal: tuple[tuple[int, int], ...]
    chats: tuple[Chat, ...]


def pairs(row: Row, answers: Sequence[str]) -> Pairs:
    """The pairs of a group."""
    texts = [spoken(text) for text in (*answers, row.answer)]
    count = len(answers)
    ring = [(0, 1)] if count < 3 else [(at, (at + 1) % count) for at in range(count)]
    places = tuple((one, other) for one, other in ring if texts[one] != texts[other])
    equal = tuple(pair for pair in ring if pair not in places)
    parts = [("QUESTION", conversation(row.prompt))]
    chats = [
        chat for one, other in places for chat in compared(_TASK, parts, texts[one], texts[other])
    ]
    return Pairs(count, places, equal, tuple(chats))


def read_pairs(asked: Pairs, said: Sequence[Answer]) -> tuple[list[float], int]:
    """Each answer's share of its pairs that it won, a tie as half, and how many pairs said nothing.

    An answer of whose pairs none said anything has its group's mean.
    """
    verdicts = [read_verdict(one.text) for one in said]
    won: list[list[float]] = [[] for _ in range(asked.answers + 1)]
    silent = 0
    for (one, other), pair in zip(
        asked.places, zip(verdicts[::2], verdicts[1::2], strict=True), strict=True
    ):
        found = preferred(pair)
        if found is None:
            silent += 1
            continue
        won[one].append((1 + found) / 2)
        won[other].append((1 - found) / 2)
    for pair_of_equals in asked.equal:
        for at in pair_of_equals:
            won[at].append(_TIE)
    values = [sum(own) / len(own) if own else None for own in won[: asked.answers]]
    return completed(values, _TIE), silent
