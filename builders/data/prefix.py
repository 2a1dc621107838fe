"""What encoded rows begin with in common: system prompt and template, as far as not learnt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adapterworks.builders.data.render import IGNORED


def common_prefix(ids: Iterable[Sequence[int]], labels: Iterable[Sequence[int]]) -> int:
    """Tokens that all rows begin with, ending before the token ahead of any row's first label.

    So that every prediction which is learnt is made by a token of its own row, and every row keeps
    at least one token.
    """
    first: Sequence[int] | None = None
    length = 0
    for row, label in zip(ids, labels, strict=True):
        if first is None:
            first, length = row, len(row)
        learnt = next((at for at, value in enumerate(label) if value != IGNORED), len(row))
        limit = max(0, min(length, learnt - 1))
        length = next((at for at in range(limit) if row[at] != first[at]), limit)
    return length
