"""A row's question with passages before it. Pure.

Invariant: nothing of the row but its question changes, and nothing of its answer is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adapterworks.builders.data.rows import Message, Row
from adapterworks.builders.synthesis.passages import Passage

_TASK = "Answer by these passages where they help."


def prompted(row: Row, passages: Sequence[Passage], characters: int) -> Row:
    """The row whose last question has passages before it; itself where there are none.

    Args:
        characters: of each passage, at most.
    """
    if not passages:
        return row
    shown = "\n\n".join(
        f"[{at}] {passage.text[:characters]}" for at, passage in enumerate(passages, start=1)
    )
    last = max(at for at, turn in enumerate(row.messages) if turn["role"] == "user")
    turn: Message = {
        **row.messages[last],
        "content": f"{_TASK}\n\n{shown}\n\n{row.messages[last]['content']}",
    }
    return replace(row, messages=(*row.messages[:last], turn, *row.messages[last + 1 :]))
