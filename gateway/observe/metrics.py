"""Prometheus metrics of one gateway, per tenant, adapter and engine.

Invariants:
- Labels are only names the index knows (tenants, adapters, engines), never text from a client, so
  nobody can make the gateway hold any number of series.
- No more than `MOST_PAIRS` tenants with an adapter have series of their own; what is beyond is
  counted under `other`, so that no scrape takes long.
- What a token or an answer costs are calls of series that were bound before (`Series`).

Names follow Prometheus' conventions: seconds, bytes, `_total`. They are shown
by `docs/reference/grafana-dashboard.json`.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Collection, Iterable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from adapterworks.gateway.observe.as_vllm import AsVllm

CONTENT_TYPE = CONTENT_TYPE_LATEST
MOST_PAIRS = 1000
OTHER = "other"
_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)


class Series:
    """The series of one tenant and adapter, each bound when it is used first."""

    def __init__(self, metrics: Metrics, tenant: str, adapter: str) -> None:
        self._metrics, self._who = metrics, (tenant, adapter)
        self._answers: dict[tuple[str, int], Callable[[], None]] = {}
        self._tokens: dict[str, Callable[[float], None]] = {}

    @functools.cached_property
    def first_token(self) -> Callable[[float], None]:
        """Seconds from arrival."""
        return self._metrics.first_token_seconds.labels(*self._who).observe

    @functools.cached_property
    def between_tokens(self) -> Callable[[float], None]:
        """Seconds from the one before."""
        return self._metrics.inter_token_seconds.labels(*self._who).observe

    @functools.cached_property
    def request_seconds(self) -> Callable[[float], None]:
        """Seconds from arrival to the last byte."""
        return self._metrics.request_seconds.labels(*self._who).observe

    def answered(self, endpoint: str, status: int) -> None:
        """One more answer of this status."""
        count = self._answers.get((endpoint, status))
        if count is None:
            bound = self._metrics.requests.labels(*self._who, endpoint, str(status))
            count = self._answers[endpoint, status] = bound.inc
        count()

    def tokens(self, kind: str, number: int) -> None:
        """So many more of them; a series begins with the first."""
        if not number:
            return
        count = self._tokens.get(kind)
        if count is None:
            count = self._tokens[kind] = self._metrics.tokens.labels(*self._who, kind).inc
        count(number)


class Metrics:
    """All series of one gateway, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.as_vllm = AsVllm()
        registry.register(self.as_vllm)
        who = ("tenant", "adapter")
        self.requests = Counter(
            "adapters_requests",
            "Requests answered.",
            (*who, "endpoint", "status"),
            registry=registry,
        )
        self.tokens = Counter(
            "adapters_tokens", "Tokens metered.", (*who, "kind"), registry=registry
        )
        self.estimated = Counter(
            "adapters_usage_estimated",
            "Answers whose tokens the engine did not say, charged at the most they can have cost.",
            who,
            registry=registry,
        )
        self.refusals = Counter(
            "adapters_refusals",
            "Requests refused before the engine: `limit`, `queue`, `cold`, `access` or `proof`; "
            "without a tenant, those not let in: `auth_none`, `auth_unknown`, `auth_refused` key.",
            ("tenant", "reason"),
            registry=registry,
        )
        self.request_seconds = _histogram(
            registry, "adapters_request_seconds", "Arrival to last byte.", who, _LATENCY
        )
        self.queue_seconds = _histogram(
            registry, "adapters_queue_seconds", "Wait for a turn.", ("engine", "tenant"), _LATENCY
        )
        self.first_token_seconds = _histogram(
            registry,
            "adapters_time_to_first_token_seconds",
            "Arrival to first token.",
            who,
            _LATENCY,
        )
        self.inter_token_seconds = _histogram(
            registry, "adapters_inter_token_seconds", "Between two tokens of a stream.", who, _TOKEN
        )
        self.load_seconds = _histogram(
            registry,
            "adapters_load_seconds",
            "Load and proof of an adapter.",
            ("engine",),
            _LATENCY,
        )
        self.loads = Counter(
            "adapters_loads",
            "Loads of an adapter: `ok`, `failed` or `refused` (its proof).",
            ("engine", "adapter", "outcome"),
            registry=registry,
        )
        self.proof_failures = Counter(
            "adapters_proof_failures",
            "Fingerprints the engine did not reproduce.",
            ("engine", "adapter"),
            registry=registry,
        )
        self.evictions = Counter(
            "adapters_evictions", "Adapters unloaded for others.", ("engine",), registry=registry
        )
        self.resident = Gauge(
            "adapters_resident", "1 for each resident adapter.", ("engine", "adapter"),
            registry=registry,
        )  # fmt: skip
        self.running = Gauge(
            "adapters_running", "Requests the engine works on.", ("engine",), registry=registry
        )
        self.waiting = Gauge(
            "adapters_waiting", "Requests that wait for a turn.", ("engine",), registry=registry
        )
        self.engine_up = Gauge(
            "adapters_engine_up", "1 while the engine answers.", ("engine",), registry=registry
        )
        self.engine_starts = Counter(
            "adapters_engine_starts", "Starts of the engine.", ("engine",), registry=registry
        )
        self.backlog_bytes = Gauge(
            "adapters_metering_backlog_bytes", "Usage not yet in the index.", registry=registry
        )
        self.set_aside = Gauge(
            "adapters_metering_set_aside",
            "Lines of the spool that are no events and were put aside.",
            registry=registry,
        )
        self.captured = Counter(
            "adapters_captured",
            "Answers that a tenant lets be kept: `kept`, or beside one that is, as a `shadow`'s; "
            "not kept for their `personal` data, as `unreadable` (images), because the queue was "
            "`full`, because a shadow's request was not (`alone`), or because that `failed`.",
            ("tenant", "outcome"),
            registry=registry,
        )
        self.webhooks = Counter(
            "adapters_webhooks",
            "Attempts to tell an address of `[[webhooks]]` something: `sent`; `failed`, and tried "
            "again; `dropped` after the last.",
            ("address", "outcome"),
            registry=registry,
        )
        self.background_failures = Counter(
            "adapters_background_failures",
            "What a thread or task in the background raised; it was started again.",
            ("worker",),
            registry=registry,
        )
        self._series: dict[tuple[str, str], Series] = {}
        self._waits: dict[tuple[str, str], Callable[[float], None]] = {}
        self._pairs: set[tuple[str, str]] = set()
        self._rendering = threading.Lock()

    def series(self, tenant: str, adapter: str) -> Series:
        """The bound series of a tenant (by name) and adapter (by name)."""
        pair = self._pair(tenant, adapter)
        found = self._series.get(pair)
        if found is None:
            found = self._series[pair] = Series(self, *pair)
        return found

    def waited(self, engine: str, tenant: str, seconds: float) -> None:
        """A request waited for its turn at an engine."""
        observe = self._waits.get((engine, tenant))
        if observe is None:
            observe = self._waits[engine, tenant] = self.queue_seconds.labels(
                engine, tenant
            ).observe
        observe(seconds)

    def _pair(self, tenant: str, adapter: str) -> tuple[str, str]:
        """The labels of a tenant with an adapter: their names, or `other` for both."""
        pair = (tenant, adapter)
        if pair in self._pairs:
            return pair
        if len(self._pairs) >= MOST_PAIRS:
            return OTHER, OTHER
        self._pairs.add(pair)
        return pair

    def finished(
        self,
        *,
        tenant: str,
        adapter: str,
        endpoint: str,
        status: int,
        prompt_tokens: int,
        completion_tokens: int,
        seconds: float,
        estimated: bool = False,
    ) -> None:
        """Count one answered request; `endpoint` is the route, not the client's path."""
        series = self.series(tenant, adapter)
        if estimated:
            self.estimated.labels(*self._pair(tenant, adapter)).inc()
        series.answered(endpoint, status)
        series.request_seconds(seconds)
        series.tokens("prompt", prompt_tokens)
        series.tokens("completion", completion_tokens)

    def loaded(self, *, engine: str, adapter: str, outcome: str, seconds: float) -> None:
        """Count one load; `outcome` as in the counter's help."""
        self.loads.labels(engine, adapter, outcome).inc()
        self.load_seconds.labels(engine).observe(seconds)
        if outcome == "refused":
            self.proof_failures.labels(engine, adapter).inc()

    def set_resident(self, engine: str, adapters: Iterable[str]) -> None:
        """Say which adapters (`medical@7`) are resident in an engine now, and no others."""
        now = set(adapters)
        for labels in [labels for labels in self._resident_labels() if labels[0] == engine]:
            if labels[1] not in now:
                self.resident.remove(*labels)
        for adapter in now:
            self.resident.labels(engine, adapter).set(1)

    def only_engines(self, ids: Collection[str]) -> None:
        """Say how it stands with these engines, by id, and with none that has left."""
        for gauge in (self.engine_up, self.running, self.waiting, self.resident):
            shown = [sample.labels for family in gauge.collect() for sample in family.samples]
            for labels in shown:
                if labels["engine"] not in ids:
                    gauge.remove(*labels.values())

    def render(self) -> bytes:
        """The text that `/metrics` answers, of type `CONTENT_TYPE`; from any thread."""
        with self._rendering:  # one at a time: several would take as long together
            return generate_latest(self.registry)

    def _resident_labels(self) -> list[tuple[str, str]]:
        return [
            (sample.labels["engine"], sample.labels["adapter"])
            for family in self.resident.collect()
            for sample in family.samples
        ]


def _histogram(
    registry: CollectorRegistry,
    name: str,
    help_text: str,
    labels: tuple[str, ...],
    buckets: tuple[float, ...],
) -> Histogram:
    return Histogram(name, help_text, labels, registry=registry, buckets=buckets)
