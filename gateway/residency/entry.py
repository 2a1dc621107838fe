"""What is known of one adapter on one engine; `residency.py` decides what happens to it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from adapterworks.gateway.residency.verdict import Proof
from adapterworks.manifests.errors import AdapterworksError
from adapterworks.registry.releases.release import Release

# waiting for room → loading and proving → resident → unloading; refused is final for a while.
Stage = Literal["waiting", "loading", "resident", "unloading", "refused"]


@dataclass(slots=True, eq=False)
class Entry:
    """One adapter on one engine, in one generation.

    Attributes:
        users: requests in flight.
        busy_since: when `users` last rose from 0; monotonic seconds.
        yielding: takes no new users until it has none.
        leaving: takes no new users and is unloaded when it has none.
        level: how much it is asked for (`Popularity.level`).
        owner: the tenant that had it loaded, as long as no other one uses it.
        unpaid: tokens of its proof that nobody was charged for.
        step: what is being done to load it, for a person.
        begun: when its load began; monotonic seconds.
        moved: when that step began; monotonic seconds.
        given_up: since when nobody waits for the place it is to have; monotonic seconds.
        ended: when its load ended; monotonic seconds. `since` is the same, or when it began, in
            seconds since the epoch, for a person.
    """

    release: Release
    stage: Stage
    pinned: bool = False
    users: int = 0
    yielding: bool = False
    leaving: bool = False
    busy_since: float = 0.0
    used: float = field(default_factory=time.monotonic)
    since: float = field(default_factory=time.time)
    proof: Proof | None = None
    error: AdapterworksError | None = None
    task: asyncio.Task[None] | None = None
    requests: int = 0
    level: float = -inf
    owner: str | None = None
    unpaid: int = 0
    step: str = "waiting for a place"
    begun: float = field(default_factory=time.monotonic)
    moved: float = field(default_factory=time.monotonic)
    given_up: float | None = None
    ended: float = 0.0

    def tell(self, step: str) -> None:
        """Its load has come to this step."""
        self.step, self.moved = step, time.monotonic()
