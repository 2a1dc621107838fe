"""What gates look for in all that a model is shown of a row, a text that many rows share once."""

from __future__ import annotations

from collections.abc import Callable

from adapterworks.builders.data.gates.text import hashed, shown_texts
from adapterworks.builders.data.rows import Row

# What was found in a text: its kinds, and an excerpt without it.
Look = Callable[[str], tuple[tuple[str, ...], str] | None]
_MOST = 4096  # system turns and lists of tools that are remembered


class Looked:
    """Looks at rows.

    Args:
        look: at one text.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._known: dict[bytes, tuple[tuple[str, ...], str] | None] = {}

    def at(self, row: Row) -> tuple[str, str] | None:
        """What was found and where, and the excerpt of the first part that has any."""
        reasons, excerpt = [], ""
        for part, text in shown_texts(row):
            found = self._shared(text) if part else self._look(text)
            if found is not None:
                kinds = ", ".join(found[0])
                reasons.append(f"{kinds} in its {part}" if part else kinds)
                excerpt = excerpt or found[1]
        return (", ".join(reasons), excerpt) if reasons else None

    def _shared(self, text: str) -> tuple[tuple[str, ...], str] | None:
        key = hashed(text)
        if key not in self._known:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = self._look(text)
        return self._known[key]
