"""The gateway: its parts put together, started and stopped in order.

Invariant: nothing here is global; two gateways can run in one process (tests do).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from adapterworks.gateway.admission.fairness import FairQueue
from adapterworks.gateway.admission.limiter import Limiter
from adapterworks.gateway.config.tables import GatewayConfig
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.forms import FORMS
from adapterworks.gateway.engines.pool import EnginePool
from adapterworks.gateway.metering.meter import Meter
from adapterworks.gateway.observe.metrics import Metrics
from adapterworks.gateway.observe.tracing import Tracing
from adapterworks.gateway.residency.diagnosis import findings
from adapterworks.gateway.residency.proof import FINGERPRINT, prove
from adapterworks.gateway.residency.residency import Residency
from adapterworks.gateway.residency.resolve import Resolver
from adapterworks.gateway.residency.verdict import Proof, ProofFailed
from adapterworks.gateway.tenants.store import TenantStore
from adapterworks.gateway.tenants.tenant import OPEN_TENANT, Tenant
from adapterworks.manifests.errors import AdapterworksError, NotFound, Refused
from adapterworks.manifests.refs import parse_ref
from adapterworks.registry.lifecycle.clearance import PROVED
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import SERVABLE, Release

_log = logging.getLogger(__name__)


@dataclass
class Gateway:
    """Everything a request needs.

    Attributes:
        draining: no new requests; set when the process is asked to end.
        background: work that no client waits for (shadows, proofs of jobs); ended when the gateway
            stops.
    """

    config: GatewayConfig
    registry: Registry
    pool: EnginePool
    resolver: Resolver
    limiter: Limiter
    tenants: TenantStore | None
    meter: Meter
    metrics: Metrics
    tracing: Tracing
    draining: bool = False
    started: float = field(default_factory=time.time)
    background: set[asyncio.Task[None]] = field(default_factory=set)
    _residencies: dict[str, Residency] = field(default_factory=dict)
    _queues: dict[str, FairQueue] = field(default_factory=dict)
    _watch: asyncio.Task[None] | None = None
    _pinning: asyncio.Task[None] | None = None

    @classmethod
    def compose(
        cls, config: GatewayConfig, registry: Registry, engines: Sequence[Engine], *, spool: Path
    ) -> Gateway:
        """Put a gateway together; starts nothing.

        Args:
            config: with `open`, everyone is let in without a key.
            spool: folder where metered requests are kept until the index has them.
        """
        pool = EnginePool(engines)
        gateway = cls(
            config=config,
            registry=registry,
            pool=pool,
            resolver=Resolver(registry, pool),
            limiter=Limiter(registry.database, defaults=config.limits.tenant_limits()),
            tenants=None if config.open else TenantStore(registry.database),
            meter=Meter(
                registry.database,
                spool=spool,
                commit_seconds=config.metering.commit_milliseconds / 1000,
            ),
            metrics=Metrics(),
            tracing=Tracing(config.tracing),
        )
        for engine in engines:
            gateway._residencies[engine.id] = Residency(
                engine,
                gateway._load,
                gateway._unload,
                cold_wait=config.residency.cold_wait_seconds,
                observe=functools.partial(gateway._observe, engine),
            )
            engine.on_ready(gateway.metrics.engine_starts.labels(engine.id).inc)
            gateway._queues[engine.id] = FairQueue(
                slots=config.fairness.slots or engine.parallel,
                max_waiting=config.fairness.max_waiting,
                max_wait=config.fairness.max_wait_seconds,
            )
        return gateway

    async def start(self, *, engines: bool = True) -> None:
        """Start engines and watchers; returns at once, `ready` says when it can answer.

        Args:
            engines: false if someone else starts and stops them (several gateways share them).
        """
        self.meter.start()
        if self.tenants is not None:
            self.tenants.start()
        self._watch = asyncio.create_task(self.resolver.watch(_report))
        if engines:
            for engine in self.pool.engines:
                await engine.start()
        self._pinning = asyncio.create_task(self._pin())

    async def stop(self, *, engines: bool = True) -> None:
        """Stop everything, engines last (unless they are someone else's); idempotent."""
        self.draining = True
        for task in (self._watch, self._pinning):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._watch = self._pinning = None
        for task in self.background:
            task.cancel()
        await asyncio.gather(*self.background, return_exceptions=True)
        for residency in self._residencies.values():
            residency.close()
        await self.limiter.close()
        await asyncio.to_thread(self.meter.close)
        await asyncio.to_thread(self.tracing.close)
        if self.tenants is not None:
            self.tenants.close()
        if engines:
            await asyncio.gather(*(engine.stop() for engine in self.pool.engines))

    @property
    def ready(self) -> tuple[bool, str]:
        """Whether it can answer now, and why not."""
        if self.draining:
            return False, "draining"
        waiting = [e for e in self.pool.engines if e.health.state != "ready"]
        reasons = "; ".join(f"engine {e.id}: {e.health.reason}" for e in waiting)
        return not waiting, reasons

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
        return self._residencies[engine.id]

    def queue(self, engine: Engine) -> FairQueue:
        """Who is next on the engine."""
        return self._queues[engine.id]

    async def have_resident(self, digest: str, *, pin: bool) -> list[str]:
        """Load and prove a release now, on every engine of its base; returns their ids.

        Args:
            pin: keep it loaded from now on; versions of the same name that were pinned and that no
                alias holds any more may be unloaded.

        Raises:
            NotFound: no such release.
            Refused, IntegrityError: it may not be served, or no engine serves its base.
            Unavailable: not within the cold wait, or an engine does not answer.
        """
        release = await self.resolver.release(digest)
        engines = [e for e in self.pool.engines if e.base.digest == release.base.digest]
        if not engines:
            raise Refused(
                f"no engine of this gateway serves the base of `{release.name}` "
                f"({release.base.model}, {release.base.quantization})",
                hint="restart `adapters serve`: it starts an engine for every base that is needed",
            )
        held = await asyncio.to_thread(self._held, release.name) if pin else set()
        for engine in engines:
            residency = self.residency(engine)
            if pin:
                residency.pin(release)
                residency.unpin(release.name, keep=held | {digest})
            await residency.warm(release)
        return [engine.id for engine in engines]

    def _held(self, name: str) -> set[str]:
        """The digests that a name's aliases hold, canaries too, and those that are configured."""
        held: set[str] = set()
        for alias in {move.alias for move in self.registry.history(name)}:
            with contextlib.suppress(NotFound):
                held.update(w.digest for w in self.registry.weights(name, alias))
        for ref in map(parse_ref, self.config.residency.pins):
            with contextlib.suppress(NotFound):
                held.add(self.registry.resolve(ref).digest)
        return held

    async def _load(self, engine: Engine, release: Release) -> Proof:
        """Load and prove one release on one engine.

        Raises:
            Refused, IntegrityError: it may not be served there.
            Unavailable: the engine does not answer.
        """
        servable = release.servable
        if servable is None or servable.form not in FORMS:
            raise Refused(
                f"`{release.name}` has no form that the engine can load",
                hint="`adapters show` prints its servable form",
            )
        if release.base.digest != engine.base.digest:
            raise Refused(
                f"`{release.name}` was built on base {release.base.digest[:19]}…, "
                f"the engine serves {engine.base.digest[:19]}…",
                hint="serve it with its own base",
            )
        if servable.form not in engine.forms:
            raise Refused(
                f"`{release.name}` is a {servable.form} adapter, and the engine was started "
                "without support for those",
                hint="restart `adapters serve`: it looks at the releases there are",
            )
        if self.config.trust.require_signature:
            keys = self.config.public_keys
            await asyncio.to_thread(self.registry.require_signature, release.digest, keys)
        form = FORMS[servable.form]
        folder = await asyncio.to_thread(self.registry.checkout, release.digest, SERVABLE)
        await form.load(engine, release.digest, folder, servable)
        if self.config.trust.proof == "off":
            return Proof("unproved", "proofs are off (`trust.proof`)")
        try:
            proof = await prove(engine, form, release, await self._fingerprint(release))
        except ProofFailed as error:
            if error.measured is not None:
                await asyncio.to_thread(self._note_proof, engine, release, "failed", error.measured)
            error.findings = await asyncio.to_thread(findings, self.registry, release, folder)
            if self.config.trust.proof != "warn":
                raise
            _log.warning("served unproved: %s", "; ".join((error.message, *error.findings)))
            return Proof("unproved", error.message)
        await asyncio.to_thread(self._note_proof, engine, release, PROVED, proof)
        return proof

    def _note_proof(self, engine: Engine, release: Release, result: str, proof: Proof) -> None:
        """A fact about the release, for protected aliases; that it cannot be kept stops nobody."""
        facts = {
            "engine": engine.id,
            "base": engine.base.digest,
            "divergence": proof.divergence,
            "separation": proof.separation,
        }
        try:
            self.registry.note_proof(release.digest, result, **facts)
        except AdapterworksError as error:
            _log.warning("the proof of %s is not in the log: %s", release.name, error.message)

    def _observe(self, engine: Engine, release: Release, outcome: str, seconds: float) -> None:
        """Count one load or eviction."""
        if outcome == "evicted":
            self.metrics.evictions.labels(engine.id).inc()
            return
        kind = "ok" if outcome in ("proved", "unproved") else outcome
        self.metrics.loaded(engine=engine.id, adapter=release.name, outcome=kind, seconds=seconds)
        fields = {"engine": engine.id, "adapter_digest": release.digest, "seconds": seconds}
        _log.info("load %s: %s", release.name, outcome, extra={"fields": fields})

    async def _unload(self, engine: Engine, release: Release) -> None:
        if release.servable is not None and release.servable.form in FORMS:
            await FORMS[release.servable.form].unload(engine, release.digest)

    async def _fingerprint(self, release: Release) -> bytes | None:
        # One that was withheld when the release was pulled proves as little as none.
        return await asyncio.to_thread(self.registry.read_if_here, release.digest, FINGERPRINT)

    async def _pin(self) -> None:
        """Pin what the configuration and the manifests ask for; a missing one is only reported."""
        refs = set(self.config.residency.pins)
        for row in await asyncio.to_thread(self.registry.names, limit=1000):
            refs.update(f"{row.name}:{alias}" for alias in row.aliases)
        for ref in sorted(refs):
            try:
                resolved = await asyncio.to_thread(self.registry.resolve, parse_ref(ref))
                release = await self.resolver.release(resolved.digest)
            except (AdapterworksError, NotFound) as error:
                _log.warning("not pinned: %s", error.message)
                continue
            wanted = ref in self.config.residency.pins or _declared_pinned(release)
            for engine in self.pool.engines:
                if wanted and engine.base.digest == release.base.digest:
                    self.residency(engine).pin(release)


def _declared_pinned(release: Release) -> bool:
    return bool(release.declared("serve").get("pinned", False))


def _report(error: Exception) -> None:
    _log.error("the index does not answer: %s", error)
