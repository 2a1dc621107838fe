"""What a conversation begins with: what it is told by from others, where nobody says whose it is.

Invariant: it is the same for every turn of a conversation, and bounded whatever the client sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_MOST = 2000  # characters


def opening(*values: Any) -> str:
    """The first texts in `values`, in order."""
    found: list[str] = []
    room = _MOST
    for text in _texts(values):
        found.append(text[:room])
        room -= len(found[-1])
        if room <= 0:
            break
    return "\n".join(found)


def until_first_user(turns: Any) -> Any:
    """The turns up to the first one of the user, which later requests repeat; all if none is."""
    if not isinstance(turns, Sequence) or isinstance(turns, str):
        return turns
    for index, turn in enumerate(turns):
        if isinstance(turn, Mapping) and turn.get("role") == "user":
            return turns[: index + 1]
    return turns


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, Sequence):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, int):  # token ids
        yield str(value)
