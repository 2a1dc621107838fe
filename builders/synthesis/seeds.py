"""Seed rows: what new rows are written from, each known by its digest.

Invariant: a seed is one question with one answer, after a system turn or none; what is written of a
longer conversation, of tools or of pairs would be something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapterworks.builders.data.rows import Message, Row
from adapterworks.manifests.errors import InvalidInput

_SHOWN = 10
# What says where a row was read, and not what it is.
_PLACES = ("row", "source", "mix")


def seeds_of(rows: Sequence[Row]) -> list[Row]:
    """The rows that new ones can be written from, each once, in their order.

    Raises:
        InvalidInput: a row is no question with one answer, or there is none.
    """
    faults = [
        f"row {row.number or at}: {why}" for at, row in enumerate(rows, 1) if (why := _why(row))
    ]
    if faults:
        more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise InvalidInput(
            "nothing can be written from these rows:\n  " + "\n  ".join(faults[:_SHOWN]) + more,
            hint="a seed is one question with one answer; leave the others out",
        )
    if not rows:
        raise InvalidInput("there is no seed row")
    return [*{row.digest: row for row in reversed(rows)}.values()][::-1]


def written(seed: Row, question: str, meta: Mapping[str, Any]) -> Row:
    """A row with another question after the seed's system turn, which nobody has answered yet."""
    turns: list[Message] = [turn for turn in seed.prompt if turn["role"] == "system"]
    turns += [{"role": "user", "content": question}, {"role": "assistant", "content": ""}]
    return Row(tuple(turns), meta)


def columns(seed: Row) -> dict[str, Any]:
    """The columns that a seed has besides question and answer."""
    return {name: value for name, value in seed.meta.items() if name not in _PLACES}


def shared(seeds: Sequence[Row]) -> dict[str, Any]:
    """The columns in which all seeds have one value."""
    first = columns(seeds[0])
    return {
        name: value
        for name, value in first.items()
        if all(seed.meta.get(name) == value for seed in seeds)
    }


def _why(row: Row) -> str | None:
    if row.text is not None:
        return "it is plain text"
    if row.others or row.scores:
        return "it has several answers, or marks of one"
    roles = [turn["role"] for turn in row.messages]
    if row.tools or roles not in (["user", "assistant"], ["system", "user", "assistant"]):
        return "it is no single question with one answer"
    if not row.question.strip() or not row.answer.strip():
        return "its question or its answer is empty"
    return None
