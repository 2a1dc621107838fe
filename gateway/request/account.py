"""What one request cost and how it went: metered, counted, logged and traced, exactly once.

Invariant: `close` takes effect once, whoever calls it first; what it records is durable when its
future is done, which is before the client gets the answer's last byte.
"""

from __future__ import annotations

import asyncio
import logging
import time

from adapterworks.gateway.admission.errors import RateLimited
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.metering.event import UsageEvent
from adapterworks.gateway.observe.metrics import Series
from adapterworks.gateway.request.cost import Cost
from adapterworks.gateway.request.endpoints import Call
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.gateway.request.usage import Counts, Usage
from adapterworks.gateway.tenants.tenant import Tenant
from adapterworks.manifests.errors import (
    AdapterworksError,
    IntegrityError,
    NotFound,
    Refused,
    Unavailable,
)

_log = logging.getLogger("adapterworks.gateway.access")


class Account:
    """One request's account.

    Attributes:
        usage: tokens of what the engine works on now, as it counts them; settled when that is over.
        cold: whether the request waited for its adapter to be loaded.
        phase: where the request is; says why it was refused if it is.
    """

    def __init__(self, gateway: Gateway, tenant: Tenant, receipt: Receipt, call: Call) -> None:
        self.usage = Usage()
        self._parts = Counts(0, 0)
        self._guessed = False  # the cost of a part was charged at its most
        self.cold = False
        self.phase = "access"
        self._gateway = gateway
        self._tenant = tenant
        self._receipt = receipt
        self._call = call
        self._endpoint = call.endpoint.path
        self._most: Cost | None = None
        self._started = time.time()
        self._began = self._last = time.perf_counter()
        self._series: Series | None = None  # from the first token on
        self._closed: asyncio.Future[None] | None = None

    def asked(self, most: Cost) -> None:
        """The engine is sent the request, or a part of it: it is metered, whatever happens now.

        Args:
            most: what it can have cost, charged where the engine gives no usable count.
        """
        if self._most is None:
            self._gateway.meter.begin()
        self._most = most
        self.usage = Usage()

    def cost_nothing(self) -> None:
        """The engine did not get it, or refused it; parts before it have cost what they did."""
        self.usage = Usage(final=True)

    def part(self) -> Counts:
        """A part of the request is over; returns what it cost."""
        assert self._most is not None
        done = self.usage
        done.settle(self._most)
        counts = Counts(done.prompt, done.completion, done.cached, done.reasoning)
        self._parts += counts
        self._guessed |= done.estimated
        self.usage = Usage(final=True)  # until the next part is asked
        return counts

    def settle(self) -> Usage:
        """What it costs: the engine's count, or the most it can be; zero if it was not asked."""
        if self._most is not None:
            self.usage.settle(self._most)
        return self.usage.after(self._parts, estimated=self._guessed)

    @property
    def spent(self) -> bool:
        """Whether it costs anything: the engine has worked on it, or may have."""
        return self._most is not None and self.settle().total > 0

    def token(self) -> None:
        """Events of a stream have just been sent."""
        now = time.perf_counter()
        series = self._series
        if series is None:
            series = self._gateway.metrics.series(self._tenant.name, self._adapter)
            self._series = series
            series.first_token(now - self._began)
        else:
            series.between_tokens(now - self._last)
        self._last = now

    def refused(self, error: AdapterworksError) -> None:
        """The request ends with an error of ours."""
        reason = self.phase
        if isinstance(error, RateLimited):
            reason = "limit"
        elif isinstance(error, NotFound):
            reason = "access"
        elif isinstance(error, (Refused, IntegrityError)):
            reason = "proof"
        elif not isinstance(error, Unavailable):
            return
        self._gateway.metrics.refusals.labels(self._tenant.name, reason).inc()

    def close(self, status: int, *, metered: bool = True) -> asyncio.Future[None]:
        """Record the outcome; the future is done when the metering is durable.

        What the engine was never asked is no event: it is counted, and logged.

        Args:
            status: what the client got; 499 if it left first.
            metered: whether it is an event; it is not where the same request is asked again.
        """
        if self._closed is None:
            seconds = time.perf_counter() - self._began
            usage = self.settle()
            self._closed = self._recorded(status, seconds, usage, metered)
            loop = asyncio.get_running_loop()
            # Whoever waits for the future goes on first: the client does not wait for our log.
            self._closed.add_done_callback(
                lambda _: loop.call_soon(self._report, status, seconds, usage)
            )
        return self._closed

    def _recorded(
        self, status: int, seconds: float, usage: Usage, metered: bool
    ) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        if self._most is not None and not metered:
            self._gateway.meter.pass_over()
        elif self._most is not None:
            target = self._receipt.target
            event = UsageEvent(
                request_id=self._receipt.request_id,
                tenant=self._tenant.id,
                release=self._receipt.answers,
                ref=target.label if target else "",
                prompt_tokens=usage.prompt,
                completion_tokens=usage.completion,
                status=status,
                started=self._started,
                seconds=seconds,
                cold_load=self.cold,
                endpoint=self._endpoint,
                cached_tokens=usage.cached,
                reasoning_tokens=usage.reasoning,
                sequences=self._call.asked.sequences,
                key_id=self._receipt.key_id,
                user=self._tenant.pseudonym(self._call.asked.end_user),
                estimated=usage.estimated,
            )
            recorded = self._gateway.meter.record(event)
            if not recorded.done() or recorded.exception() is not None:
                return asyncio.wrap_future(recorded, loop=loop)
        done: asyncio.Future[None] = loop.create_future()
        done.set_result(None)
        return done

    def _report(self, status: int, seconds: float, usage: Usage) -> None:
        self._gateway.metrics.finished(
            tenant=self._tenant.name,
            adapter=self._adapter,
            endpoint=self._endpoint,
            status=status,
            prompt_tokens=usage.prompt,
            completion_tokens=usage.completion,
            seconds=seconds,
            estimated=usage.estimated,
        )
        self._log(status, seconds, usage)

    @property
    def _adapter(self) -> str:
        """The adapter's or base's name; empty if the request named none that exists."""
        target = self._receipt.target
        if target is None:
            return ""
        return target.release.name if target.release is not None else target.ref

    def _log(self, status: int, seconds: float, usage: Usage) -> None:
        fields = {
            "request_id": self._receipt.request_id,
            "tenant": self._tenant.name,
            "endpoint": self._endpoint,
            "status": status,
            "seconds": round(seconds, 4),
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "cold": self.cold,
        }
        if usage.estimated:
            fields["estimated"] = True
        target = self._receipt.target
        if target is not None:
            fields |= {
                "adapter_ref": target.ref,
                "adapter_digest": target.digest,
                "base_digest": target.base_digest,
            }
        if _log.isEnabledFor(logging.INFO):
            # Not `_log.info`, which walks the stack for the name of this very line.
            extra = {"fields": fields}
            record = _log.makeRecord(
                _log.name, logging.INFO, __file__, 0, "answered", (), None, "_log", extra
            )
            _log.handle(record)
