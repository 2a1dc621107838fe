"""What a gateway does beside the requests, so that what it believes of its engines stays true.

    pins follow their aliases · what is served is leased in the registry · what is held on shared
    engines is said in the index · what an engine lists is compared with what it should hold

Invariant: no error of the index or of an engine ends any of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence

import aiohttp

from adapterworks.gateway.admission.fairness import FairQueue
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.residency.pins import Pins
from adapterworks.gateway.residency.residency import Residency
from adapterworks.gateway.residency.sharing import RENEW_SECONDS, Sharing
from adapterworks.gateway.supervision.supervisor import Supervisor, Worker
from adapterworks.manifests.errors import AdapterworksError, NotFound, Refused, Unavailable
from adapterworks.registry.lifecycle.leases import Lease
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.forms import LORA

PIN_SECONDS = 1.0  # between two readings of all aliases
LEASE_SECONDS = 3600.0
LOOK_SECONDS = 2.0
_log = logging.getLogger(__name__)


class Upkeep:
    """Of one gateway; `start` begins it, the supervisor ends it.

    Args:
        engines: those there are now.
        residencies, queues: by the id of their engine; they change with the engines.
    """

    def __init__(
        self,
        registry: Registry,
        engines: Callable[[], Sequence[Engine]],
        residencies: Mapping[str, Residency],
        queues: Mapping[str, FairQueue],
        pins: Pins,
        sharing: Sharing,
    ) -> None:
        self._registry = registry
        self._engines = engines
        self._residencies = residencies
        self._queues = queues
        self._pins = pins
        self._sharing = sharing
        self._moved = asyncio.Event()
        self._leases: dict[str, tuple[Lease, float]] = {}
        self._not_there: set[str] = set()

    def start(self, supervisor: Supervisor) -> None:
        """Begin all of it."""
        self._moved.set()
        supervisor.task("pins", self._follow_aliases)
        supervisor.task("serving leases", self._lease)
        supervisor.task("residents", self._compare)

    def moved(self) -> None:
        """The index has changed."""
        self._moved.set()

    async def end(self) -> None:
        """Give back what is leased and held in the index."""
        leases, self._leases = self._leases, {}
        with contextlib.suppress(AdapterworksError):
            for lease, _ in leases.values():
                await asyncio.to_thread(lease.end)
            await asyncio.to_thread(self._sharing.end)

    async def _follow_aliases(self, worker: Worker) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            try:
                wanted = await asyncio.to_thread(self._pins.read)
            except (Unavailable, Refused) as error:
                _log.warning("pins are not up to date: %s", error.message)
                self._moved.set()
            else:
                self._pins.apply(wanted, self._residencies)
                worker.beat()
            await asyncio.sleep(PIN_SECONDS)

    async def _lease(self, worker: Worker) -> None:
        while True:
            try:
                await self._lease_once()
                worker.beat()
            except Unavailable as error:
                _log.warning("what is served is not leased: %s", error.message)
            await asyncio.sleep(LOOK_SECONDS)

    async def _lease_once(self) -> None:
        served = {
            entry.release.digest
            for residency in tuple(self._residencies.values())
            for entry in residency.entries
            if entry.stage in ("loading", "resident")
        }
        for digest in self._leases.keys() - served:
            lease, _ = self._leases.pop(digest)
            await asyncio.to_thread(lease.end)
        now = time.monotonic()
        for digest in served - self._not_there:
            held = self._leases.get(digest)
            try:
                if held is None:
                    lease = await asyncio.to_thread(
                        self._registry.hold, digest, kind="serving", seconds=LEASE_SECONDS
                    )
                elif now - held[1] > LEASE_SECONDS / 3:
                    lease = held[0]
                    await asyncio.to_thread(lease.renew)
                else:
                    continue
            except NotFound:  # deleted while it is served: there is nothing to keep
                self._not_there.add(digest)
                self._leases.pop(digest, None)
            else:
                self._leases[digest] = (lease, now)
        self._not_there &= served

    async def _compare(self, worker: Worker) -> None:
        while True:
            for engine in self._engines():
                try:
                    await self._compare_one(engine)
                except (AdapterworksError, aiohttp.ClientError, OSError, LookupError) as error:
                    _log.warning("engine %s: its adapters are unknown: %s", engine.id, error)
            worker.beat()
            await asyncio.sleep(RENEW_SECONDS)

    async def _compare_one(self, engine: Engine) -> None:
        residency = self._residencies[engine.id]
        entries = [e for e in residency.entries if e.stage in ("loading", "resident")]
        if engine.shared_as is not None:
            digests = [entry.release.digest for entry in entries]
            await asyncio.to_thread(self._sharing.hold, engine.shared_as, digests)
            await self._meet(engine, engine.shared_as)
        there = [
            e.release.digest
            for e in entries
            if e.stage == "resident" and e.release.servable and e.release.servable.form == LORA
        ]
        alone = engine.shared_as is None
        if engine.health.state != "ready":
            residency.listed = frozenset()
            return
        if not there and alone:
            return
        listed = {model["id"] for model in await engine.models()}
        residency.listed = frozenset() if alone else frozenset(listed)
        gone = residency.lost(digest for digest in there if digest not in listed)
        if gone:
            _log.warning("engine %s does not hold %s any more", engine.id, ", ".join(gone))

    async def _meet(self, engine: Engine, shared_as: str) -> None:
        """Divide the engine with the other gateways on it, and learn what they have served."""
        queue = self._queues[engine.id]
        served = queue.served()
        try:
            meeting = await asyncio.to_thread(self._sharing.meet, shared_as, served)
        except Unavailable:
            queue.not_told(served)
            raise
        queue.share(meeting.gateways)
        queue.served_elsewhere(meeting.elsewhere)
