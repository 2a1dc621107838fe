"""Rows without an answer: they teach silence (or nothing, and report a loss of 0.0).

Every answer that is learnt counts, those in the middle of a conversation too. One is empty if it
has no visible character and calls no tool; the last one also if it is one of the words by which
exports spell a missing value.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from adapterworks.builders.data.gates.gate import Gate
from adapterworks.builders.data.gates.report import Context, Finding, Rows, offence
from adapterworks.builders.data.rows import Message, Row

_MISSING = {"nan", "null", "none", "n/a", "#n/a", "<na>", "undefined"}


def check(rows: Rows, threshold: float, context: Context) -> Finding:
    """Measured: number of rows without an answer, in all splits."""
    offences = []
    for split, members in rows.items():
        spelt = _Missing(members)
        for index, row in enumerate(members):
            answer = row.answer.strip()
            visible = [c for c in answer if unicodedata.category(c)[0] not in "CZ"]
            silent = [number for number, turn in enumerate(row.messages, 1) if _is_silent(turn)]
            if silent and silent[-1] < len(row.messages):
                offences.append(offence(split, index, row, f"turn {silent[0]} is empty"))
                continue
            if row.messages and row.messages[-1].get("tool_calls"):
                continue
            if not visible:
                offences.append(offence(split, index, row, "the answer is empty"))
            elif answer.casefold() in _MISSING and not spelt.is_common(answer):
                reason = f"the answer is `{answer}`, as a missing value is written"
                offences.append(offence(split, index, row, reason))
    return Finding(tuple(offences), float(len(offences)))


def _is_silent(turn: Message) -> bool:
    """An answer that is learnt and says and calls nothing."""
    return (
        turn["role"] == "assistant"
        and turn.get("weight", 1.0) != 0
        and not turn.get("tool_calls")
        and all(unicodedata.category(c)[0] in "CZ" for c in turn["content"])
    )


class _Missing:
    """How often the rows of a split spell a missing value; counted when it is first asked for."""

    def __init__(self, members: Sequence[Row]) -> None:
        self._members = members
        self._counts: Counter[str] | None = None

    def is_common(self, answer: str) -> bool:
        """`None` may be a class of its own: then many rows have it."""
        if self._counts is None:
            answers = (row.answer.strip() for row in self._members)
            self._counts = Counter(one for one in answers if one.casefold() in _MISSING)
        return self._counts[answer] > max(5, 0.05 * len(self._members))


GATE = Gate(
    name="empty_supervision",
    description="Rows without an answer to learn from.",
    check=check,
    action="fail",
)
