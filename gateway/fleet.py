"""The engines behind one gateway, and for each of them what it holds and who is next there.

Invariants:
- an engine that is in the pool has a residency and a queue, from the moment it joins;
- one that leaves is sent nothing more, and keeps them until the last request to it is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence

from adapterworks.gateway.admission.fairness import FairQueue
from adapterworks.gateway.config.tables import FairnessTable, ResidencyTable
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.pool import EnginePool
from adapterworks.gateway.engines.routing import Seen, comfortable
from adapterworks.gateway.engines.target import Target
from adapterworks.gateway.observe.metrics import Metrics
from adapterworks.gateway.residency.loading import Loader
from adapterworks.gateway.residency.popularity import Popularity
from adapterworks.gateway.residency.residency import Residency
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.registry.releases.release import Release

_log = logging.getLogger(__name__)


class Fleet:
    """Engines with their residencies and queues.

    Attributes:
        residencies, queues: by the id of their engine.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        loader: Loader,
        residency: ResidencyTable,
        fairness: FairnessTable,
        metrics: Metrics,
        supervisor: Supervisor,
        first: Sequence[Release] = (),
    ) -> None:
        self.pool = EnginePool(engines)
        self.residencies: dict[str, Residency] = {}
        self.queues: dict[str, FairQueue] = {}
        self._popularity = Popularity()
        self._users: Counter[str] = Counter()
        self._left = asyncio.Event()
        self._loader, self._metrics, self._supervisor = loader, metrics, supervisor
        self._residency, self._fairness = residency, fairness
        for engine in engines:
            self._furnish(engine)
            own = [r for r in first if self.pool.home(r.base.digest, r.digest) is engine]
            self.residencies[engine.id].begin_with(own)

    async def join(self, engine: Engine) -> None:
        """Begin to watch an engine, and to send it requests when it is ready."""
        self._furnish(engine)
        self.pool.join(engine)
        await engine.start(self._supervisor)

    def has(self, id: str) -> bool:
        """Whether an engine of this id is here, or has left and is not done yet."""
        return id in self.residencies

    async def leave(self, engine: Engine) -> None:
        """Send it nothing more; returns when what it was sent is done, and it is let go of."""
        self.pool.leave(engine)
        self.residencies[engine.id].close()
        try:
            while self._users[engine.id]:
                await self._left.wait()
        finally:
            await engine.stop()
            del self.residencies[engine.id], self.queues[engine.id], self._users[engine.id]

    async def noted(self, seconds: float) -> None:
        """Wait until what came of proofs is written down, or so long."""
        await self._loader.noted(seconds)

    @contextlib.contextmanager
    def using(self, target: Target, *, but: Engine | None = None) -> Iterator[Engine]:
        """The engine that a request for this target goes to; it is not let go of meanwhile.

        Args:
            but: not this one.

        Raises:
            NotFound: no engine serves its base.
            Unavailable: those that do are not ready.
        """
        engine = self._route(target, but)
        self._users[engine.id] += 1
        try:
            yield engine
        finally:
            self._users[engine.id] -= 1
            self._left.set()
            self._left = asyncio.Event()

    def has_another(self, target: Target, engine: Engine) -> bool:
        """Whether a further engine can answer for this target now."""
        ranked = self.pool.ranked(target.base_digest, target.digest)
        return any(one is not engine for one in ranked)

    def unsettled(self) -> list[str]:
        """What is still done before it is as it is to begin. Names nobody.

        Of the bases none of whose ready engines is: one that joins those that answer is loaded
        while they do, and keeps nobody waiting.
        """
        told: dict[str, set[str | None]] = {}
        for engine in self.pool.engines:
            if engine.health.state == "ready":
                reasons = told.setdefault(engine.base.digest, set())
                reasons.add(self.residencies[engine.id].unsettled)
        waits = [reasons for reasons in told.values() if None not in reasons]
        return sorted({reason for reasons in waits for reason in reasons if reason is not None})

    def _furnish(self, engine: Engine) -> None:
        def observe(release: Release, outcome: str, seconds: float) -> None:
            self._observe(engine, release, outcome, seconds)

        residency = self.residencies[engine.id] = Residency(
            engine,
            self._loader.load,
            self._loader.unload,
            cold_wait=self._residency.cold_wait_seconds,
            observe=observe,
            supervisor=self._supervisor,
            popularity=self._popularity,
        )
        engine.on_ready(self._metrics.engine_starts.labels(engine.id).inc)
        queue = self.queues[engine.id] = FairQueue(
            slots=self._fairness.slots or engine.parallel,
            max_waiting=self._fairness.max_waiting,
            max_wait=self._fairness.max_wait_seconds,
        )
        residency.seats.on_change(queue.look_again)

    def _route(self, target: Target, but: Engine | None) -> Engine:
        digest = target.digest

        def see(engine: Engine) -> Seen:
            queue, residency = self.queues[engine.id], self.residencies[engine.id]
            load = queue.running + queue.waiting + residency.awaited
            holds = digest is not None and residency.has_or_brings(digest)
            return Seen(load, comfortable(queue.slots), holds)

        return self.pool.route(target, see, but=but)

    def places(self, release: Release) -> list[Residency]:
        """Of the engines that can have the release, the one that is asked first in front."""
        ranked = self.pool.ranked(release.base.digest, release.digest)
        return [self.residencies[engine.id] for engine in ranked]

    def _observe(self, engine: Engine, release: Release, outcome: str, seconds: float) -> None:
        """Count one load or eviction."""
        if outcome == "evicted":
            self._metrics.evictions.labels(engine.id).inc()
            return
        kind = "ok" if outcome in ("proved", "unproved") else outcome
        self._metrics.loaded(engine=engine.id, adapter=release.name, outcome=kind, seconds=seconds)
        fields = {"engine": engine.id, "adapter_digest": release.digest, "seconds": seconds}
        _log.info("load %s: %s", release.name, outcome, extra={"fields": fields})
