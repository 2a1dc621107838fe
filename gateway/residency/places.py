"""What one engine holds: adapters are loaded, proved, unloaded to make room, and loaded again.

Invariants:
- an adapter is held only after it was loaded and proved in this generation of the engine;
- loaded adapters never number more than the engine's capacity;
- an adapter is unloaded only while nothing uses it;
- one that is to go takes requests again when nobody waits for its place any more;
- what is closed begins no load, and whoever waited for one is told, not cancelled;
- a tenant that has adapters loaded which nobody else uses makes room among those first, once they
  are its share.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator

from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.residency.desired import Desired
from adapterworks.gateway.residency.entry import Entry
from adapterworks.gateway.residency.popularity import Popularity
from adapterworks.gateway.residency.seats import Seats
from adapterworks.gateway.residency.verdict import Proof
from adapterworks.gateway.residency.victim import victim
from adapterworks.gateway.residency.waiting import FIRST_GUESS_SECONDS, let_go
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.manifests.errors import AdapterworksError, IntegrityError, Refused, Unavailable
from adapterworks.registry.releases.release import Release

RETRY_REFUSED_SECONDS = 60.0
# That a place is kept for an adapter which nobody waits for any more: whoever was told to ask again
# in two seconds, and does, must not stand at the end of the line each time.
COMES_BACK_SECONDS = 5.0
# Loads and proves, and tells its steps; raises Refused or IntegrityError for good, Unavailable for
# now.
Load = Callable[[Engine, Release, Callable[[str], None]], Awaitable[Proof]]
Unload = Callable[[Engine, Release], Awaitable[None]]
# Told of a release the outcome (a proof's state, `refused`, `failed` or `evicted`) and seconds.
Observe = Callable[[Release, str, float], None]


class _NotWanted(Unavailable):
    """Nobody waits for what was to be loaded."""


class Places:
    """The places for adapters in one engine.

    Attributes:
        entries: what is loaded, loading or refused now, by digest.
        seats: who may use what is loaded.
        kept: what is to be loaded whether it is asked for or not.
        wanted: how many wait for a load, by digest.
        usual: seconds that a load takes here: what the last one took.
        closed: nothing is loaded here any more.
    """

    def __init__(
        self,
        engine: Engine,
        load: Load,
        unload: Unload,
        observe: Observe,
        supervisor: Supervisor,
        popularity: Popularity | None = None,
    ) -> None:
        self._engine = engine
        self._load = load
        self._unload = unload
        self._observe = observe
        self._supervisor = supervisor
        self._popularity = popularity or Popularity()
        self.entries: dict[str, Entry] = {}
        self.seats = Seats(engine, self.entries)
        self.usual = FIRST_GUESS_SECONDS
        self.desired = Desired(engine, self.entries, self.ensure, self.seats.wake, supervisor)
        self.wanted: dict[str, int] = {}
        self._room = asyncio.Lock()
        self.closed = False
        engine.on_ready(self._new_generation)

    def close(self) -> None:
        """Load nothing more; what is loaded stays with the engine.

        Whoever waits for a load is told `NotAsked`: another engine may have it.
        """
        self.closed = True
        self.desired.close()
        loads = [e.task for e in self.entries.values() if e.task is not None]
        for task in loads:
            task.cancel()

    def loading(self, release: Release, tenant: str | None) -> Entry | None:
        """The load that must end before the adapter can be used, begun if need be; None if loaded.

        Args:
            tenant: whose request asks for it; None if no request does.

        Raises:
            Refused, IntegrityError: it was refused lately.
            NotAsked: nothing is loaded here any more.
        """
        entry = self._present(release)
        if entry is None:
            entry = self._begin(release, tenant)
        entry.given_up = None  # somebody waits, or has what it needs
        return None if entry.stage == "resident" else entry

    async def ensure(self, release: Release, tenant: str | None = None) -> None:
        """Have it loaded and proved; one load at a time for one digest, however many ask.

        Raises:
            Refused, IntegrityError: it may not be served.
            Unavailable: the engine does not answer, or was replaced meanwhile.
        """
        while True:
            entry = self.loading(release, tenant)
            if entry is None:
                return
            assert entry.task is not None
            # Not awaited itself: who started the load may leave, those who joined still want it.
            await asyncio.wait({entry.task})
            if entry.task.cancelled():  # not whoever waits here: the load alone was ended
                raise let_go()
            entry.task.result()
            if entry.error is not None:
                raise entry.error.again()

    @contextlib.contextmanager
    def want(self, digest: str) -> Iterator[None]:
        """Somebody waits for it: not the first to be unloaded."""
        self.wanted[digest] = self.wanted.get(digest, 0) + 1
        try:
            yield
        finally:
            self.wanted[digest] -= 1
            if not self.wanted[digest]:
                del self.wanted[digest]
                entry = self.entries.get(digest)
                if entry is not None and not entry.requests:
                    self.seats.wake()  # whoever had it loaded has gone: it may be unloaded

    def _present(self, release: Release) -> Entry | None:
        """What is known of it; a refusal is forgotten after a while."""
        entry = self.entries.get(release.digest)
        if entry is None or entry.stage != "refused":
            return entry
        assert entry.error is not None
        if time.monotonic() - entry.ended < RETRY_REFUSED_SECONDS:
            raise entry.error.again()
        del self.entries[release.digest]
        return None

    def _begin(self, release: Release, tenant: str | None) -> Entry:
        if self.closed:
            raise let_go()
        pinned = self.desired.is_pinned(release.digest)
        level = self._popularity.level(release.digest)
        entry = Entry(release, "waiting", pinned=pinned, owner=tenant, level=level)
        self.entries[release.digest] = entry
        entry.task = self._supervisor.once("load", self._run(entry), what=release.digest[:19])
        return entry

    async def _run(self, entry: Entry) -> None:
        """Load one entry; its outcome, error included, is left in the entry."""
        began = time.perf_counter()
        generation = self._engine.health.generation
        outcome = "failed"
        try:
            await self._make_room(entry)
            entry.begun = time.monotonic()
            entry.tell("checking what it is")
            entry.proof = await self._load(self._engine, entry.release, entry.tell)
            if generation != self._engine.health.generation:
                raise Unavailable("the engine was restarted meanwhile", retry_after=2.0)
            entry.stage = "resident"
            outcome = entry.proof.state
            entry.unpaid = entry.proof.tokens if entry.owner is not None else 0
        except (Refused, IntegrityError) as error:
            entry.stage, entry.error, outcome = "refused", error, "refused"
            entry.proof = getattr(error, "measured", None)
            with contextlib.suppress(AdapterworksError):
                await self._unload(self._engine, entry.release)
        except _NotWanted as error:  # no load has begun, and so none has failed
            entry.error = error
            self._forget(entry)
            self.seats.wake()
            return
        except AdapterworksError as error:
            await self._take_back(entry, generation)
            entry.error, outcome = error, "failed"
            self._forget(entry)
        except asyncio.CancelledError:
            entry.error = let_go()
            self._forget(entry)
            self.seats.wake()
            raise
        except BaseException as error:  # a bug must not leave an entry that loads for ever
            await self._take_back(entry, generation)
            entry.error = Unavailable(f"loading failed: {type(error).__name__}", retry_after=10.0)
            self._forget(entry)
            self.seats.wake()
            raise
        entry.since, entry.ended = time.time(), time.monotonic()
        if entry.stage == "resident":
            self.usual = time.monotonic() - entry.begun
        self._observe(entry.release, outcome, time.perf_counter() - began)
        self.seats.wake()

    async def _take_back(self, entry: Entry, generation: int) -> None:
        """Unload what did not become resident.

        It may be in the engine, or get there yet: what is not counted must not be.
        """
        if generation == self._engine.health.generation and entry.stage == "loading":
            with contextlib.suppress(Exception):  # why it is taken back is what is told
                await self._unload(self._engine, entry.release)

    async def _make_room(self, newcomer: Entry) -> None:
        """Unload others until one more fits; newcomers are served in order.

        Raises:
            Unavailable: the engine was replaced meanwhile: what it is to hold is loaded anew.
            _NotWanted: nobody waits for it any more, and there is no room yet.
        """
        async with self._room:
            while True:
                if not self._counts(newcomer):
                    raise Unavailable("the engine was restarted meanwhile", retry_after=2.0)
                held = [e for e in self.entries.values() if e.stage not in ("waiting", "refused")]
                if len(held) < self._engine.capacity:
                    newcomer.stage = "loading"
                    return
                # Whoever waits for its turn has had it loaded for that.
                wanted = self.wanted.keys() | self.seats.asked
                leaver = victim(held, busy=self.seats.busy, wanted=wanted, owner=newcomer.owner)
                if leaver is None:
                    await self._while_wanted(newcomer)
                    continue
                leaver.leaving = True
                try:
                    while self._counts(leaver) and (
                        leaver.users or leaver.release.digest in self.seats
                    ):
                        await self._while_wanted(newcomer)
                except _NotWanted:
                    leaver.leaving = False
                    raise
                if self._counts(leaver):  # else what has its name now is another one
                    leaver.stage = "unloading"
                    # A task of its own: whoever wants it back meanwhile waits for the end of it,
                    # so that the engine never sees a load overtake the unload.
                    leaver.task = self._supervisor.once("unload", self._drop(leaver))
                    await asyncio.shield(leaver.task)

    async def _while_wanted(self, newcomer: Entry) -> None:
        """Wait for a change, as long as somebody waits for the newcomer or may come back for it.

        Raises:
            _NotWanted: nobody does.
        """
        if self._is_wanted(newcomer):
            await self.seats.changed()
            return
        now = time.monotonic()
        newcomer.given_up = newcomer.given_up or now
        left = newcomer.given_up + COMES_BACK_SECONDS - now
        if left <= 0:
            raise _NotWanted("nobody waits for it any more", retry_after=2.0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self.seats.changed()

    def _is_wanted(self, entry: Entry) -> bool:
        digest = entry.release.digest
        waited = digest in self.wanted or digest in self.seats.asked
        return waited or digest in self.desired

    async def _drop(self, entry: Entry) -> None:
        try:
            await self._unload(self._engine, entry.release)
        except AdapterworksError:
            pass  # an engine that does not answer will be replaced, and then holds nothing
        finally:
            self._forget(entry)
            self.seats.wake()
        self._observe(entry.release, "evicted", 0.0)

    def _counts(self, entry: Entry) -> bool:
        """Whether it is what is known of its adapter, in this generation of the engine."""
        return self.entries.get(entry.release.digest) is entry

    def _forget(self, entry: Entry) -> None:
        if self._counts(entry):
            del self.entries[entry.release.digest]

    def _new_generation(self) -> None:
        """The engine is new and empty: load what it held, in the order of last use."""
        if self.closed:
            return
        held = [e for e in self.entries.values() if e.stage not in ("refused", "unloading")]
        held.sort(key=lambda e: e.used, reverse=True)
        self.entries.clear()
        self.desired.load_anew(e.release for e in held)
        self.seats.wake()
