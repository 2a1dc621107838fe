"""Mixing, sampling and replay of training rows.

Invariant: what is taken depends on the rows and the seed only: rows are ordered by a hash of seed
and digest, so a smaller sample is a subset of a larger one and no random generator's state matters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from math import floor

from adapterworks.builders.data.many import at, digests, joined
from adapterworks.builders.data.rows import Row


def sample(rows: Sequence[Row], weight: float, seed: int) -> Sequence[Row]:
    """Each row ⌊weight⌋ times, and a further `weight - ⌊weight⌋` of them once more, in order.

    Weight 0.5 keeps half of the rows, 1 all, 2.5 takes each twice and half of them a third time.
    """
    extra = choose(rows, round((weight - floor(weight)) * len(rows)), seed)
    return joined(*[rows] * floor(weight), extra)


def choose(rows: Sequence[Row], count: int, seed: int) -> Sequence[Row]:
    """`count` of the rows, in their order; all of them again and again if there are fewer."""
    if not rows:
        return ()
    rounds, rest = divmod(count, len(rows))
    order = sorted((_key(digest, seed), index) for index, digest in enumerate(digests(rows)))
    return joined(*[rows] * rounds, at(rows, sorted(index for _, index in order[:rest])))


def by_hash(rows: Sequence[Row], seed: int) -> list[Row]:
    """The rows in the order in which `choose` prefers them."""
    return sorted(rows, key=lambda row: _key(row.digest, seed))


def replay(train: Sequence[Row], general: Sequence[Row], share: float, seed: int) -> list[Row]:
    """General rows against forgetting: as many as `share` of the training rows."""
    count = round(share * len(train))
    return [row.with_meta(replay=True) for row in choose(general, count, seed)]


def _key(digest: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{digest}".encode()).digest()
