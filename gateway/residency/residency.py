"""Which adapters one engine holds, and who may use them now.

What is loaded, and what makes room for it, is in `gateway/residency/places.py`; how many may be
used at once, and who is next, in `seats.py`; what a request waits for, in `gate.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, TypeVar

from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.residency.entry import Entry
from adapterworks.gateway.residency.gate import Gate
from adapterworks.gateway.residency.places import Load, Observe, Places, Unload
from adapterworks.gateway.residency.popularity import Popularity
from adapterworks.gateway.residency.waiting import left, too_slow
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.releases.release import Release

T = TypeVar("T")


class Residency:
    """The adapters of one engine.

    Attributes:
        listed: digests that the engine said it has when it was asked last, whoever loaded them.

    Args:
        cold_wait: seconds a request waits for a slot, or for a load to come a step further, before
            it is told to come back. How long a load takes in all is the machine's affair.
        observe: told what became of a load, and what was unloaded.
        popularity: of the gateway's adapters, in whatever engine.
    """

    def __init__(
        self,
        engine: Engine,
        load: Load,
        unload: Unload,
        *,
        cold_wait: float,
        observe: Observe = lambda release, outcome, seconds: None,
        supervisor: Supervisor | None = None,
        popularity: Popularity | None = None,
    ) -> None:
        self._engine = engine
        self._cold_wait = cold_wait
        self._popularity = popularity or Popularity()
        self._places = Places(
            engine, load, unload, observe, supervisor or Supervisor(), self._popularity
        )
        self._entries = self._places.entries
        self.seats = self._places.seats
        self.listed: frozenset[str] = frozenset()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is loaded, loading or refused now."""
        return tuple(self._entries.values())

    def close(self) -> None:
        """Load nothing more; what is loaded stays with the engine."""
        self._places.close()

    @property
    def closed(self) -> bool:
        """Whether nothing is loaded here any more."""
        return self._places.closed

    def begin_with(self, releases: Iterable[Release]) -> None:
        """Load these, besides the pins, when the engine comes up for the first time.

        Of those of its base as many as one batch can mix, in this order.
        """
        self._places.desired.begin_with(releases)

    def pins_are_told(self) -> None:
        """What is to be pinned is known now."""
        self._places.desired.pins_are_told()

    @property
    def unsettled(self) -> str | None:
        """What is still done before it is as it is to begin; None from then on. Names nobody."""
        return self._places.desired.unsettled

    def pin(self, release: Release) -> None:
        """Keep it loaded from now on and after every restart of the engine."""
        self._places.desired.pin(release)

    def unpin(self, name: str, *, keep: set[str]) -> None:
        """Let releases of a name be unloaded again, but those with a digest in `keep`."""
        self._places.desired.unpin(name, keep=keep)

    def warn_of_pins(self) -> None:
        """Say so when there are more pins than places."""
        self._places.desired.warn_of_pins()

    async def warm(self, release: Release, tenant: str | None = None) -> bool:
        """Have it loaded and proved, without a slot; returns whether it had to be loaded.

        Args:
            tenant: whose request asks for it; None if no request does.

        Raises:
            Refused, IntegrityError: it may not be served.
            Unavailable: not within the cold wait, or the engine went away.
        """
        entry = self._entries.get(release.digest)
        if entry is not None and entry.stage == "resident":
            return False
        with self._places.want(release.digest):
            await self._patiently(release, self._places.ensure(release, tenant))
        return True

    @contextlib.asynccontextmanager
    async def lease(self, release: Release) -> AsyncIterator[Entry]:
        """Use the adapter: loaded, proved, in a slot, and staying until the block ends.

        Raises:
            Refused, IntegrityError, Unavailable: as `warm`.
        """
        with self._places.want(release.digest):
            entry = await self._patiently(release, self._acquire(release))
        try:
            yield entry
        finally:
            self.leave(entry)

    def gate(self, release: Release, tenant: str | None = None) -> Gate:
        """What one request for the adapter waits for, besides its turn."""
        return Gate(self, release, tenant)

    def loading(self, release: Release, tenant: str | None = None) -> Entry | None:
        """The load that must end before the adapter can be used, begun if need be; None if loaded.

        Raises:
            Refused, IntegrityError: it was refused lately.
        """
        return self._places.loading(release, tenant)

    def enter(self, digest: str, tenant: str | None = None) -> Entry | None:
        """Become a user of what is loaded; None if it is not."""
        entry = self._entries.get(digest)
        if entry is None or entry.stage != "resident":
            return None
        if entry.users == 0:
            entry.busy_since = time.monotonic()
        if entry.owner != tenant:
            entry.owner = None  # of use to more than who had it loaded
        entry.users += 1
        entry.requests += 1
        entry.used = time.monotonic()
        entry.level = self._popularity.note(digest, entry.used)
        return entry

    def leave(self, entry: Entry) -> None:
        """A user is done."""
        entry.users -= 1
        entry.used = time.monotonic()
        entry.yielding = entry.yielding and entry.users > 0
        self.seats.wake()

    def debt(self, digest: str) -> int:
        """Tokens of its proof that nobody was charged for yet; whoever asks is charged."""
        entry = self._entries.get(digest)
        if entry is None:
            return 0
        unpaid, entry.unpaid = entry.unpaid, 0
        return unpaid

    def lost(self, digests: Iterable[str]) -> list[str]:
        """The engine does not hold these any more: they are loaded when they are asked for next.

        What is pinned is loaded again at once.

        Returns:
            the names of those that were thought to be there.
        """
        gone = [self._entries.pop(d) for d in digests if self.holds(d)]
        if gone:
            self.seats.wake()
        pinned = [entry.release for entry in gone if entry.pinned]
        if pinned:
            self._places.desired.reload(pinned)
        return [entry.release.name for entry in gone]

    @property
    def base_digest(self) -> str:
        """Of the base that its engine serves."""
        return self._engine.base.digest

    def knows(self, digest: str) -> bool:
        """Whether it is loaded, or was refused lately: nothing is gained by loading it."""
        entry = self._entries.get(digest)
        return entry is not None and entry.stage in ("resident", "refused")

    def holds(self, digest: str) -> bool:
        """Whether it is loaded and proved."""
        entry = self._entries.get(digest)
        return entry is not None and entry.stage == "resident"

    @property
    def awaited(self) -> int:
        """Requests that wait for an adapter to be loaded."""
        return sum(self._places.wanted.values())

    def has_or_brings(self, digest: str) -> bool:
        """Whether the engine has it or is about to: loaded, being loaded, or loaded by others.

        What is on its way out counts as gone.
        """
        entry = self._entries.get(digest)
        if entry is None:
            return digest in self.listed
        return entry.stage in ("waiting", "loading", "resident") and not entry.leaving

    async def have(self, release: Release) -> None:
        """Have it loaded and proved, however long that takes.

        Raises:
            Refused, IntegrityError, Unavailable: as `warm`.
        """
        with self._places.want(release.digest):
            await self._places.ensure(release)

    async def _acquire(self, release: Release) -> Entry:
        while True:
            await self._places.ensure(release)
            await self.seats.take(release.digest)
            self.seats.leave(release.digest)
            entry = self.enter(release.digest)
            if entry is not None:
                return entry
            # It was evicted, or the engine replaced, while this request waited.
            self.seats.wake()

    def left(self, release: Release, since: float) -> float:
        """Seconds that somebody who came at `since` (monotonic) still waits for it."""
        return left(self._entries.get(release.digest), since, self._cold_wait)

    def too_slow(self, release: Release) -> Unavailable:
        """What is said to whoever waited for the adapter or its slot for too long."""
        return too_slow(release, self._entries.get(release.digest), self._places.usual)

    async def _patiently(self, release: Release, work: Coroutine[Any, Any, T]) -> T:
        """Do it, for as long as it is waited for.

        Raises:
            Unavailable: it came no further.
        """
        began = time.monotonic()
        task = asyncio.ensure_future(work)
        try:
            while (seconds := self.left(release, began)) > 0:
                if (await asyncio.wait({task}, timeout=seconds))[0]:
                    return task.result()
            raise self.too_slow(release)
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
