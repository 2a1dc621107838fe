"""Mixing, sampling and replay of training rows.

Invariant: what is taken depends on the rows and the seed only: rows are ordered by a hash of seed
and digest, so a smaller sample is a subset of a larger one and no random generator's state matters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import floor

from adapterworks.builders.data.rows import Row


def sample(rows: Sequence[Row], weight: float, seed: int) -> tuple[Row, ...]:
    """Each row ⌊weight⌋ times, and a further `weight - ⌊weight⌋` of them once more, in order.

    Weight 0.5 keeps half of the rows, 1 all, 2.5 takes each twice and half of them a third time.
    """
    extra = choose(rows, round((weight - floor(weight)) * len(rows)), seed)
    return tuple(rows) * floor(weight) + extra


def choose(rows: Sequence[Row], count: int, seed: int) -> tuple[Row, ...]:
    """`count` of the rows, in their order; all of them again and again if there are fewer."""
    if not rows:
        return ()
    rounds, rest = divmod(count, len(rows))
    order = sorted(range(len(rows)), key=lambda index: (_key(rows[index], seed), index))
    return tuple(rows) * rounds + tuple(rows[index] for index in sorted(order[:rest]))


def by_hash(rows: Sequence[Row], seed: int) -> list[Row]:
    """The rows in the order in which `choose` prefers them."""
    return sorted(rows, key=lambda row: _key(row, seed))


def replay(train: Sequence[Row], general: Sequence[Row], share: float, seed: int) -> list[Row]:
    """General rows against forgetting: as many as `share` of the training rows."""
    count = round(share * len(train))
    return [row.with_meta(replay=True) for row in choose(general, count, seed)]


def _key(row: Row, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{row.digest}".encode()).digest()
