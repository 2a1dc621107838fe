"""Probes asked of an engine a few at a time, so that others' answers need not wait for all of them.

Invariant: every prompt is scored once, in order; how they are cut decides the time, not the scores.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from adapterworks.gateway.engines.engine import Scores

# How long one slice should keep the engine: whatever else it generates stands still meanwhile.
SLICE_SECONDS = 0.2

Prompts = Sequence[Sequence[int]]


async def in_slices(
    score: Callable[[Prompts], Awaitable[tuple[list[Scores], int]]], prompts: Prompts
) -> tuple[list[Scores], int]:
    """Score the prompts, as many at once as the engine answers within `SLICE_SECONDS`.

    Returns:
        the scores in the prompts' order, and the engine tokens they cost.
    """
    scores: list[Scores] = []
    tokens, size = 0, 1
    while len(scores) < len(prompts):
        began = time.perf_counter()
        some, cost = await score(prompts[len(scores) : len(scores) + size])
        scores, tokens = scores + some, tokens + cost
        seconds = time.perf_counter() - began
        if seconds < SLICE_SECONDS / 2:
            size *= 2
        elif seconds > SLICE_SECONDS:
            size = max(1, size // 2)
    return scores, tokens
