"""Probes asked of an engine a few at a time, so that others' answers need not wait for all of them.

Invariant: every probe is scored once, in order; how they are cut decides the time, not the scores.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from adapterworks.gateway.engines.engine import Probe, Scores

# How long one slice should keep the engine: whatever else it generates stands still meanwhile.
SLICE_SECONDS = 0.2
# Tokens of the first one: what two cores prefill in about that time.
FIRST_TOKENS = 96

Score = Callable[[Sequence[Probe]], Awaitable[tuple[list[Scores], int]]]


async def in_slices(
    score: Score,
    probes: Sequence[Probe],
    *,
    alone: Callable[[], bool] = lambda: False,
    scored: Callable[[int], None] = lambda count: None,
) -> tuple[list[Scores], int]:
    """Score the probes, as many at once as the engine answers within `SLICE_SECONDS`.

    Args:
        alone: whether nobody else is answered now, so that nobody has to wait.
        scored: told after each slice how many probes are done.

    Returns:
        the scores of all positions in the probes' order, and the engine tokens they cost.
    """
    scores: list[Scores] = []
    done, tokens, room = 0, 0, FIRST_TOKENS
    while done < len(probes):
        some = probes[done:] if alone() else _fitting(probes[done:], room)
        began = time.perf_counter()
        found, cost = await score(some)
        seconds = time.perf_counter() - began
        scores, tokens, done = scores + found, tokens + cost, done + len(some)
        scored(done)
        used = sum(len(probe.token_ids) for probe in some)
        if seconds < SLICE_SECONDS / 2:
            room = max(room, 2 * used)
        elif seconds > SLICE_SECONDS:
            room = used // 2
    return scores, tokens


def _fitting(probes: Sequence[Probe], room: int) -> Sequence[Probe]:
    """The first ones that have no more tokens together; one in any case."""
    used = 0
    for count, probe in enumerate(probes):
        used += len(probe.token_ids)
        if used > room and count:
            return probes[:count]
    return probes
