"""The gateway: its parts put together, started and stopped in order.

Invariant: nothing here is global; two gateways can run in one process (tests do).
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapterworks.gateway.admission.fairness import FairQueue
from adapterworks.gateway.admission.limiter import Limiter
from adapterworks.gateway.admission.reading import Reading
from adapterworks.gateway.capture.answered import Recent
from adapterworks.gateway.capture.capture import Capture
from adapterworks.gateway.config.reload import Reloaded, take
from adapterworks.gateway.config.tables import GatewayConfig
from adapterworks.gateway.discovery.finder import Finder
from adapterworks.gateway.discovery.follow import Follower, Make
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.pool import EnginePool
from adapterworks.gateway.fleet import Fleet
from adapterworks.gateway.metering.meter import Meter
from adapterworks.gateway.observe.metrics import Metrics
from adapterworks.gateway.observe.tracing import Tracing
from adapterworks.gateway.residency.handover import Handover
from adapterworks.gateway.residency.loading import Loader
from adapterworks.gateway.residency.pins import Pins
from adapterworks.gateway.residency.proved import Proved
from adapterworks.gateway.residency.residency import Residency
from adapterworks.gateway.residency.resolve import Resolver
from adapterworks.gateway.residency.sharing import Sharing
from adapterworks.gateway.residency.upkeep import Upkeep
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.gateway.supervision.supervisor import Supervisor, Worker
from adapterworks.gateway.tenants.store import STALE_SECONDS, TenantStore
from adapterworks.gateway.tenants.tenant import OPEN_TENANT, Tenant
from adapterworks.manifests.grading import Grading
from adapterworks.registry.exchanges.store import Exchanges
from adapterworks.registry.index.database import Database
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Release

# At its end, for what came of proofs: the registry may be busy.
_NOTES_SECONDS = 5.0


@dataclass
class Gateway:
    """Everything a request needs.

    Attributes:
        draining: no new requests; set when the process is asked to end.
        container_key: of the tenant that a platform's requests are of (`[http] container`).
        recent: the last answers, for feedback that comes before their usage is in the index.
        grading: runs graders of OpenAI's; handed in, since what is worth what is builders' matter.
        aside: the database of what gateways tell each other.
        reading: parses what clients send.
        background: work that no client waits for (shadows, proofs of jobs); ended when the gateway
            stops.
    """

    config: GatewayConfig
    registry: Registry
    fleet: Fleet
    resolver: Resolver
    limiter: Limiter
    tenants: TenantStore | None
    meter: Meter
    metrics: Metrics
    tracing: Tracing
    supervisor: Supervisor
    capture: Capture
    aside: Database
    sharing: Sharing
    grading: Grading
    draining: bool = False
    started: float = field(default_factory=time.time)
    container_key: str | None = field(default=None, repr=False)
    recent: Recent = field(default_factory=Recent)
    background: set[asyncio.Task[None]] = field(default_factory=set)
    reading: Reading = field(default_factory=Reading)
    followers: dict[str, Follower] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._pins, fleet = Pins(self.registry, self.config.residency.pins), self.fleet
        held = fleet.residencies, fleet.queues
        engines = lambda: fleet.pool.engines  # noqa: E731
        self._upkeep = Upkeep(self.registry, engines, *held, self._pins, self.sharing)

    @property
    def pool(self) -> EnginePool:
        """The engines."""
        return self.fleet.pool

    @classmethod
    def compose(
        cls,
        config: GatewayConfig,
        registry: Registry,
        engines: Sequence[Engine],
        *,
        spool: Path,
        grading: Grading,
        first: Sequence[Release] = (),
        keys: Path | None = None,
    ) -> Gateway:
        """Put a gateway together; starts nothing.

        Args:
            config: with `open`, everyone is let in without a key.
            spool: folder where metered requests are kept until the index has them.
            grading: runs graders of OpenAI's.
            first: loaded and proved before it says that it is ready, as the pins are, each in the
                engine that its requests are sent to; as many as there is room for, in this order.
            keys: folder of the keys that captured answers are sealed with; None: beside the home.
        """
        metrics = Metrics()
        supervisor = Supervisor(count=lambda name: metrics.background_failures.labels(name).inc())
        # Not in the registry's file on SQLite: no load waits for a publish.
        aside = registry.database.aside("limits", patience=3.0)
        migrate(aside)
        sharing = Sharing(aside, uuid.uuid4().hex)
        fleet = Fleet(
            engines,
            loader=Loader(
                registry, config.trust, config.public_keys, sharing, Proved(aside), supervisor
            ),
            residency=config.residency,
            fairness=config.fairness,
            metrics=metrics,
            supervisor=supervisor,
            first=first,
        )
        meter = Meter(
            registry.database,
            spool=spool,
            commit_seconds=config.metering.commit_milliseconds / 1000,
            keep_days=config.metering.keep_days,
            supervisor=supervisor,
        )
        gateway = cls(
            config=config,
            registry=registry,
            fleet=fleet,
            resolver=Resolver(registry, fleet.pool),
            limiter=Limiter(
                registry.database,
                defaults=config.limits.tenant_limits(),
                supervisor=supervisor,
                counted=lambda: meter.counted,
            ),
            tenants=None if config.open else TenantStore(registry.database),
            meter=meter,
            metrics=metrics,
            tracing=Tracing(config.tracing),
            supervisor=supervisor,
            capture=Capture(
                Exchanges.of(registry, keys),
                supervisor=supervisor,
                count=lambda tenant, outcome: metrics.captured.labels(tenant, outcome).inc(),
            ),
            aside=aside,
            sharing=sharing,
            grading=grading,
        )
        gateway.resolver.hand_over(
            Handover(fleet.residencies.values, fleet.places, gateway.resolver.release, supervisor)
        )
        return gateway

    def follow(self, what: str, finder: Finder, make: Make, *, seconds: float) -> None:
        """Have engines join and leave as `finder` says, from `start` on.

        Args:
            what: where they are found, for logs; `make`: of a URL its engine.
        """

        async def join(engine: Engine) -> None:
            await self.fleet.join(engine)
            self._upkeep.moved()  # what is pinned is pinned there too

        fleet = self.fleet
        self.followers[what] = Follower(
            what, finder, make, join=join, leave=fleet.leave, has=fleet.has, seconds=seconds
        )

    async def start(self, *, engines: bool = True) -> None:
        """Start engines and watchers; returns at once, `ready` says when it can answer.

        Args:
            engines: false if someone else starts and stops them (several gateways share them).
        """
        self.meter.start()
        self.capture.start()
        if self.tenants is not None:
            self.tenants.start(self.supervisor)
        upkeep = self._upkeep

        async def watch(worker: Worker) -> None:
            await self.resolver.watch(worker, upkeep.moved)

        self.supervisor.task("revision watcher", watch, patience=STALE_SECONDS)
        self.supervisor.task("promotions", self.resolver.follow)
        if engines:
            for engine in self.pool.engines:
                await engine.start(self.supervisor)
        upkeep.start(self.supervisor)
        for what, follower in self.followers.items():
            self.supervisor.task(f"engines of {what}", follower.run)

    async def stop(self, *, engines: bool = True) -> None:
        """Stop everything, engines last (unless they are someone else's); idempotent."""
        self.draining = True
        self.supervisor.end()
        for residency in self.fleet.residencies.values():
            residency.close()
        await self.fleet.noted(_NOTES_SECONDS)
        await self.supervisor.cancel()  # nothing is begun any more that is to be given back here
        await self.limiter.close()
        await self._upkeep.end()
        self.reading.close()
        await asyncio.to_thread(self.meter.close)
        await asyncio.to_thread(self.capture.close)
        await asyncio.to_thread(self.tracing.close)
        if self.tenants is not None:
            self.tenants.close()
        if engines:
            await asyncio.gather(*(engine.stop() for engine in self.pool.engines))
        self.aside.close()

    @property
    def ready(self) -> tuple[bool, str]:
        """Whether it can answer now, and why not: for anybody, so it names no place."""
        if self.draining:
            return False, "draining"
        reasons = [] if self.pool.engines else ["no engine is found yet"]
        reasons += [
            f"no engine of `{base}` is ready ({states})"
            for base, states in self.pool.without_engine().items()
        ]
        if not reasons:
            reasons += self.fleet.unsettled()
        reasons += self.supervisor.down
        if not self.meter.accepts():
            reasons.append("usage cannot be recorded")
        return not reasons, "; ".join(reasons)

    @property
    def healthy(self) -> tuple[bool, str]:
        """Whether the process can go on, and what cannot: only a new process may help then."""
        hopeless = self.supervisor.hopeless
        return not hopeless, ", ".join(f"`{name}` fails again and again" for name in hopeless)

    def reconfigure(self, new: GatewayConfig) -> Reloaded:
        """Take what can be taken of a new configuration; says what was and what was not."""
        found = take(self.config, new)
        self.config = found.config
        self.limiter.defaults = found.config.limits.tenant_limits()
        if "residency.pins" in found.taken:
            self._pins.name(found.config.residency.pins)
            self._upkeep.moved()
        return found

    def authenticate(self, key: str | None) -> Tenant:
        """The tenant of a key; everyone's in open mode.

        Raises:
            Unauthorized: the key does not work.
        """
        return OPEN_TENANT if self.tenants is None else self.tenants.authenticate(key)

    def tenant(self, tenant: str) -> Tenant | None:
        """A tenant by its id, for what it has asked for before; None if it may not ask any more."""
        if self.tenants is None:
            return OPEN_TENANT if tenant == OPEN_TENANT.id else None
        return self.tenants.find(tenant)

    def residency(self, engine: Engine) -> Residency:
        """Which adapters the engine holds."""
        return self.fleet.residencies[engine.id]

    def queue(self, engine: Engine) -> FairQueue:
        """Who is next on the engine."""
        return self.fleet.queues[engine.id]
