"""Which rows go into one sequence, where `train.packing_strategy` is `bfd`: best-fit decreasing.

The longest row first, each into the sequence with the least room that holds it, or into a new one
(Johnson 1973; Ding et al. 2024, arXiv:2404.10830): at most 11/9 of the fewest sequences there are,
plus one. The same as TRL's `bfd`, but that rows longer than `max_length` are none of its concern.

Invariant: pure; no row is cut, left out or put twice, and the same lengths give the same sequences,
so that plan and training mean the same ones.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from adapterworks.builders.plan.facts import DataFacts
from adapterworks.manifests.models import Manifest

BFD = "bfd"


def best_fit(lengths: Sequence[int], most: int) -> list[list[int]]:
    """The rows of each sequence, the longest first.

    Args:
        lengths: tokens of each row.
        most: tokens of a sequence.

    Raises:
        ValueError: a row is longer than a sequence.
    """
    packs: list[list[int]] = []
    rooms: list[int] = []  # sizes of room that there are, ascending
    having: dict[int, deque[int]] = {}  # room → the sequences that have it, the oldest first
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        length = lengths[row]
        if length > most:
            raise ValueError(f"a row of {length} tokens does not fit into {most}")
        at = bisect_left(rooms, length)
        if at == len(rooms):
            room = most
            pack = len(packs)
            packs.append([])
        else:
            room = rooms[at]
            pack = having[room].popleft()
            if not having[room]:
                del rooms[at]
        packs[pack].append(row)
        room -= length
        others = having.setdefault(room, deque())
        if not others and room:
            insort(rooms, room)
        others.append(pack)
    return packs


def packs_ahead(manifest: Manifest) -> bool:
    """Whether rows are put together once, before the training."""
    return manifest.train.packing and manifest.train.packing_strategy == BFD


def in_packs(data: DataFacts, most: int) -> DataFacts:
    """The facts of rows that are put together: an example is a sequence of several rows.

    Args:
        most: tokens of a sequence.
    """
    packs = best_fit(data.lengths, most)
    return replace(
        data,
        lengths=tuple(sum(data.lengths[row] for row in pack) for pack in packs),
        supervised=tuple(sum(data.supervised[row] for row in pack) for pack in packs),
        longest=data.longest_sequence,
    )
