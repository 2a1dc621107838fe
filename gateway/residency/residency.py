"""Which adapters one engine holds, and who may use them now.

Invariants:
- an adapter answers only after it was loaded and proved in this generation of the engine;
- loaded adapters never number more than the engine's capacity;
- an adapter is unloaded only while nothing uses it.

How many may be used at once, and who is next, is in `gateway/residency/seats.py`; what a request
waits for, in `gateway/residency/gate.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator

from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.residency.entry import Entry
from adapterworks.gateway.residency.gate import Gate
from adapterworks.gateway.residency.seats import Seats
from adapterworks.gateway.residency.verdict import Proof
from adapterworks.gateway.residency.victim import victim
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.manifests.errors import AdapterworksError, IntegrityError, Refused, Unavailable
from adapterworks.registry.releases.release import Release

RETRY_REFUSED_SECONDS = 60.0
_log = logging.getLogger(__name__)
# Loads and proves; raises Refused or IntegrityError for good, Unavailable for now.
Load = Callable[[Engine, Release], Awaitable[Proof]]
Unload = Callable[[Engine, Release], Awaitable[None]]


class Residency:
    """The adapters of one engine.

    Args:
        cold_wait: seconds a request waits for a load or a slot before it is told to come back.
        observe: called with the release, the outcome (a proof's state, `refused`, `failed` or
            `evicted`) and seconds.
    """

    def __init__(
        self,
        engine: Engine,
        load: Load,
        unload: Unload,
        *,
        cold_wait: float,
        observe: Callable[[Release, str, float], None] = lambda release, outcome, seconds: None,
        supervisor: Supervisor | None = None,
    ) -> None:
        self._engine = engine
        self._load = load
        self._unload = unload
        self._cold_wait = cold_wait
        self._observe = observe
        self._supervisor = supervisor or Supervisor()
        self._entries: dict[str, Entry] = {}
        self.seats = Seats(engine, self._entries)
        self._pins: dict[str, Release] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._wanted: dict[str, int] = {}
        self._room = asyncio.Lock()
        self._closed = False
        self._warned = False
        engine.on_ready(self._new_generation)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is loaded, loading or refused now."""
        return tuple(self._entries.values())

    def close(self) -> None:
        """Load nothing more; what is loaded stays with the engine."""
        self._closed = True
        loads = [e.task for e in self._entries.values() if e.task is not None]
        for task in [*self._background, *loads]:
            task.cancel()

    def pin(self, release: Release) -> None:
        """Keep it loaded from now on and after every restart of the engine."""
        new = release.digest not in self._pins
        self._pins[release.digest] = release
        entry = self._entries.get(release.digest)
        if entry is not None:
            entry.pinned = True
        # More than there are places would unload each other's.
        if (
            self._engine.health.state == "ready"
            and new
            and len(self._pins) <= self._engine.capacity
        ):
            self._reload([release])

    def unpin(self, name: str, *, keep: set[str]) -> None:
        """Let releases of a name be unloaded again, but those with a digest in `keep`."""
        for digest in [d for d, r in self._pins.items() if r.name == name and d not in keep]:
            del self._pins[digest]
            entry = self._entries.get(digest)
            if entry is not None:
                entry.pinned = False
        self.seats.wake()

    async def warm(self, release: Release) -> bool:
        """Have it loaded and proved, without a slot; returns whether it had to be loaded.

        Raises:
            Refused, IntegrityError: it may not be served.
            Unavailable: not within the cold wait, or the engine went away.
        """
        entry = self._entries.get(release.digest)
        if entry is not None and entry.stage == "resident":
            return False
        try:
            async with asyncio.timeout(self._cold_wait):
                with self._want(release.digest):
                    await self._ensure(release)
        except TimeoutError as error:
            raise self.too_slow(release) from error
        return True

    @contextlib.asynccontextmanager
    async def lease(self, release: Release) -> AsyncIterator[Entry]:
        """Use the adapter: loaded, proved, in a slot, and staying until the block ends.

        Raises:
            Refused, IntegrityError, Unavailable: as `warm`.
        """
        try:
            async with asyncio.timeout(self._cold_wait):
                with self._want(release.digest):
                    entry = await self._acquire(release)
        except TimeoutError as error:
            raise self.too_slow(release) from error
        try:
            yield entry
        finally:
            self.leave(entry)

    def gate(self, release: Release) -> Gate:
        """What one request for the adapter waits for, besides its turn."""
        return Gate(self, release, self._cold_wait)

    def loading(self, release: Release) -> Entry | None:
        """The load that must end before the adapter can be used, begun if need be; None if loaded.

        Raises:
            Refused, IntegrityError: it was refused lately.
        """
        entry = self._present(release)
        if entry is None:
            entry = self._begin(release)
        return None if entry.stage == "resident" else entry

    def enter(self, digest: str) -> Entry | None:
        """Become a user of what is loaded; None if it is not."""
        entry = self._entries.get(digest)
        if entry is None or entry.stage != "resident":
            return None
        if entry.users == 0:
            entry.busy_since = time.monotonic()
        entry.users += 1
        entry.requests += 1
        entry.used = time.monotonic()
        return entry

    def leave(self, entry: Entry) -> None:
        """A user is done."""
        entry.users -= 1
        entry.used = time.monotonic()
        entry.yielding = entry.yielding and entry.users > 0
        self.seats.wake()

    def lost(self, digests: Iterable[str]) -> list[str]:
        """The engine does not hold these any more: they are loaded when they are asked for next.

        Returns:
            the names of those that were thought to be there.
        """
        gone = [self._entries.pop(d) for d in digests if self.holds(d)]
        if gone:
            self.seats.wake()
        return [entry.release.name for entry in gone]

    @property
    def base_digest(self) -> str:
        """Of the base that its engine serves."""
        return self._engine.base.digest

    def knows(self, digest: str) -> bool:
        """Whether it is loaded, or was refused lately: nothing is gained by loading it."""
        entry = self._entries.get(digest)
        return entry is not None and entry.stage in ("resident", "refused")

    def warn_of_pins(self) -> None:
        """Say so when there are more pins than places."""
        if len(self._pins) > self._engine.capacity and not self._warned:
            _log.warning(
                "engine %s: %d adapters are pinned, and it holds %d: the pins that were used "
                "last stay", self._engine.id, len(self._pins), self._engine.capacity,
            )  # fmt: skip
        self._warned = len(self._pins) > self._engine.capacity

    def holds(self, digest: str) -> bool:
        """Whether it is loaded and proved."""
        entry = self._entries.get(digest)
        return entry is not None and entry.stage == "resident"

    async def have(self, release: Release) -> None:
        """Have it loaded and proved, however long that takes.

        Raises:
            Refused, IntegrityError, Unavailable: as `warm`.
        """
        with self._want(release.digest):
            await self._ensure(release)

    async def _acquire(self, release: Release) -> Entry:
        while True:
            await self._ensure(release)
            await self.seats.take(release.digest)
            self.seats.leave(release.digest)
            entry = self.enter(release.digest)
            if entry is not None:
                return entry
            # It was evicted, or the engine replaced, while this request waited.
            self.seats.wake()

    @contextlib.contextmanager
    def _want(self, digest: str) -> Iterator[None]:
        """Somebody waits for it: not the first to be unloaded."""
        self._wanted[digest] = self._wanted.get(digest, 0) + 1
        try:
            yield
        finally:
            self._wanted[digest] -= 1
            if not self._wanted[digest]:
                del self._wanted[digest]
                entry = self._entries.get(digest)
                if entry is not None and not entry.requests:
                    self.seats.wake()  # whoever had it loaded has gone: it may be unloaded

    async def _ensure(self, release: Release) -> None:
        """Loaded and proved; one load at a time for one digest, however many ask."""
        while True:
            entry = self.loading(release)
            if entry is None:
                return
            assert entry.task is not None
            # Shielded: who started the load may leave, those who joined still want it.
            await asyncio.shield(entry.task)
            if entry.error is not None:
                raise entry.error

    def _present(self, release: Release) -> Entry | None:
        """What is known of it; a refusal is forgotten after a while."""
        entry = self._entries.get(release.digest)
        if entry is None or entry.stage != "refused":
            return entry
        assert entry.error is not None
        if time.time() - entry.since < RETRY_REFUSED_SECONDS:
            raise entry.error
        del self._entries[release.digest]
        return None

    def _begin(self, release: Release) -> Entry:
        entry = Entry(release, "waiting", pinned=release.digest in self._pins)
        self._entries[release.digest] = entry
        entry.task = self._supervisor.once("load", self._run(entry), what=release.digest[:19])
        return entry

    async def _run(self, entry: Entry) -> None:
        """Load one entry; its outcome, error included, is left in the entry."""
        began = time.perf_counter()
        generation = self._engine.health.generation
        outcome = "failed"
        try:
            await self._make_room(entry)
            entry.proof = await self._load(self._engine, entry.release)
            if generation != self._engine.health.generation:
                raise Unavailable("the engine was restarted meanwhile", retry_after=2.0)
            entry.stage = "resident"
            outcome = entry.proof.state
        except (Refused, IntegrityError) as error:
            entry.stage, entry.error, outcome = "refused", error, "refused"
            entry.proof = getattr(error, "measured", None)
            with contextlib.suppress(AdapterworksError):
                await self._unload(self._engine, entry.release)
        except AdapterworksError as error:
            if generation == self._engine.health.generation and entry.stage == "loading":
                # It may be in the engine, or get there yet: what is not counted must not be.
                with contextlib.suppress(AdapterworksError):
                    await self._unload(self._engine, entry.release)
            entry.error, outcome = error, "failed"
            self._forget(entry)
        except asyncio.CancelledError:
            self._forget(entry)
            raise
        except BaseException as error:  # a bug must not leave an entry that loads for ever
            entry.error = Unavailable(f"loading failed: {type(error).__name__}", retry_after=10.0)
            self._forget(entry)
            self.seats.wake()
            raise
        entry.since = time.time()
        self._observe(entry.release, outcome, time.perf_counter() - began)
        self.seats.wake()

    async def _make_room(self, newcomer: Entry) -> None:
        """Unload others until one more fits; newcomers are served in order."""
        async with self._room:
            while True:
                held = [e for e in self._entries.values() if e.stage not in ("waiting", "refused")]
                if len(held) < self._engine.capacity:
                    newcomer.stage = "loading"
                    return
                leaver = victim(held, busy=self.seats.busy, wanted=self._wanted)
                if leaver is not None:
                    leaver.leaving = True
                    while leaver.users or leaver.release.digest in self.seats:
                        await self.seats.changed()
                    leaver.stage = "unloading"
                    # A task of its own: whoever wants it back meanwhile waits for the end of it,
                    # so that the engine never sees a load overtake the unload.
                    leaver.task = self._supervisor.once("unload", self._drop(leaver))
                    await asyncio.shield(leaver.task)
                else:
                    await self.seats.changed()

    async def _drop(self, entry: Entry) -> None:
        try:
            await self._unload(self._engine, entry.release)
        except AdapterworksError:
            pass  # an engine that does not answer will be replaced, and then holds nothing
        finally:
            self._forget(entry)
            self.seats.wake()
        self._observe(entry.release, "evicted", 0.0)

    def _forget(self, entry: Entry) -> None:
        if self._entries.get(entry.release.digest) is entry:
            del self._entries[entry.release.digest]

    def _new_generation(self) -> None:
        """The engine is new and empty: load what it held, in the order of last use."""
        if self._closed:
            return
        held = [e for e in self._entries.values() if e.stage not in ("refused", "unloading")]
        held.sort(key=lambda e: e.used, reverse=True)
        self._entries.clear()
        again = {**self._pins, **{e.release.digest: e.release for e in held}}
        self._reload(list(again.values())[: self._engine.capacity])
        self.seats.wake()

    def _reload(self, releases: list[Release]) -> None:
        async def reload() -> None:
            for release in releases:
                with contextlib.suppress(AdapterworksError):
                    await self._ensure(release)

        task = self._supervisor.once("reload", reload(), what=self._engine.id)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def too_slow(self, release: Release) -> Unavailable:
        """What is said to whoever waited for the adapter or its slot for too long."""
        return Unavailable(
            f"`{release.name}` is still being loaded or has no free slot",
            hint="try again shortly",
            retry_after=2.0,
        )
