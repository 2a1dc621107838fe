"""How much each adapter is asked for: requests, counted so that old ones fade.

A request counts 1 when it comes and half as much `HALF_LIFE` seconds later (exponential decay, as
LRFU has it: Lee et al. 2001). So who makes room in an engine is neither the one that was used
longest ago, which one look at every adapter would leave in disorder, nor for ever the one that was
popular last week.

Invariant: no more than `most` adapters are remembered, however many there are; those that count
least are forgotten.
"""

from __future__ import annotations

from math import log2

HALF_LIFE = 1800.0
_MOST = 65_536


class Popularity:
    """Of one gateway, whatever engine an adapter is in.

    Args:
        half_life: seconds.
        most: adapters that are remembered.
    """

    def __init__(self, half_life: float = HALF_LIFE, most: int = _MOST) -> None:
        self._half_life, self._most = half_life, most
        # digest → log2 of its count, as if it had been counted at time 0: it never changes by
        # waiting, and of two the larger one is asked for more, now and later.
        self._known: dict[str, float] = {}

    def note(self, digest: str, now: float) -> float:
        """Count a request; returns the adapter's `level` from now on.

        Args:
            now: monotonic seconds.
        """
        at = now / self._half_life
        before = self._known.get(digest)
        level = at if before is None else at + log2(1.0 + 2.0 ** max(before - at, -60.0))
        self._known[digest] = level
        if len(self._known) > self._most:
            self._forget()
        return level

    def level(self, digest: str) -> float:
        """What is compared: of two adapters the higher one is asked for more."""
        return self._known.get(digest, float("-inf"))

    def _forget(self) -> None:
        """A quarter of them, at once: then one request in many thousands pays for it."""
        kept = sorted(self._known.items(), key=lambda one: one[1])[self._most // 4 :]
        self._known = dict(kept)
