"""How long a request waits for an adapter that is not there yet, and what it is told after that.

Invariant: how long a load takes in all is the machine's affair: it is waited for as long as it
comes a step further within the configured time. A place or a slot is waited for that time at most.
"""

from __future__ import annotations

import time

from adapterworks.gateway.engines.engine import NotAsked
from adapterworks.gateway.residency.entry import Entry
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.releases.release import Release

# That a load takes, as long as none has ended.
FIRST_GUESS_SECONDS = 5.0


def left(entry: Entry | None, since: float, seconds: float) -> float:
    """Seconds that somebody who came at `since` (monotonic) still waits.

    Args:
        entry: what is known of the adapter.
        seconds: that are waited in which nothing happens.
    """
    moved = entry.moved if entry is not None and entry.stage == "loading" else since
    return max(since, moved) + seconds - time.monotonic()


def too_slow(release: Release, entry: Entry | None, usual: float) -> Unavailable:
    """What is said to whoever waited for too long: how far the load is, and when to ask again.

    Args:
        usual: seconds that a load takes here.
    """
    if entry is None or entry.stage != "loading":
        return Unavailable(
            f"`{release.name}` is still being loaded or has no free slot",
            hint="try again shortly",
            retry_after=2.0,
        )
    spent = time.monotonic() - entry.begun
    again = max(1, round(usual - spent))
    return Unavailable(
        f"`{release.name}` is still being loaded, for {spent:.0f} s now: {entry.step}",
        hint=f"try again in {again} s: the load goes on",
        retry_after=float(again),
    )


def let_go() -> NotAsked:
    """What is said to whoever waits for a load of an engine that is let go of."""
    return NotAsked(
        "the engine is let go of, and nothing is loaded there any more",
        hint="try again shortly",
        retry_after=2.0,
    )
