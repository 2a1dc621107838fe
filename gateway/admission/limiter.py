"""Limits of a tenant, held by all gateways of one index together: RPM, TPM, concurrency, month.

Requests and tokens are token buckets that hold one minute's limit and refill continuously, so any
interval of t seconds sees at most limit · (1 + t/60). A request is admitted with its estimated
tokens and corrected by `Permit.settle`; it needs SQL only when the lease of its tenant is used up
(see `lease.py`), 20 to 40 times a minute.

Overshoot, with any number of gateways:
- requests, concurrency: none, except slots of a gateway that could not reach the index for 15 s;
- tokens: only by what requests in flight use beyond their estimates, repaid before the next;
- the month's budget: what the other gateways' requests finish within a second, plus the excess of
  requests in flight over their estimates.

If the index cannot be used, a request whose lease is used up is refused with `Unavailable`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
import uuid
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError

from adapterworks.gateway.admission.errors import RateLimited
from adapterworks.gateway.admission.lease import RateLease, SlotLease
from adapterworks.gateway.admission.ledger import SLOT_SECONDS, Ledger
from adapterworks.gateway.admission.month import Month
from adapterworks.gateway.admission.shared import SharedLedger
from adapterworks.gateway.storage.schema import migrate
from adapterworks.gateway.tenants.tenant import Limits, Tenant
from adapterworks.manifests.errors import InvalidInput, Unavailable
from adapterworks.registry.index.database import Database

__all__ = ["Limiter", "Permit", "RateLimited"]

_SWEEP_SECONDS = 1.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _State:
    """What this gateway knows about one tenant's limits."""

    requests: RateLease
    tokens: RateLease
    slots: SlotLease
    month: Month
    renewed: float = field(default_factory=time.monotonic)


class Limiter:
    """Admission for one gateway process; belongs to one event loop."""

    def __init__(self, database: Database, *, defaults: Limits = Limits()) -> None:  # noqa: B008
        migrate(database)
        self._ledger = SharedLedger(Ledger(database, holder=uuid.uuid4().hex))
        self._defaults = defaults
        self._states: dict[str, _State] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def admit(
        self,
        tenant: Tenant,
        *,
        model: str,
        estimated_tokens: int,
        demanded_tokens: int | None = None,
        sequences: int = 1,
    ) -> Permit:
        """Admit one request.

        Args:
            model: what was asked for, for the error's message.
            estimated_tokens: prompt tokens and the most the answer may have.
            demanded_tokens: what cannot be less; all of them if it is not said. What is beyond is
                reserved up to half a minute's limit, or the month's.
            sequences: answers that the engine works on for it; each counts as a request.

        Raises:
            InvalidInput: it is above a limit by itself, so that it never can be admitted.
            RateLimited: a limit is reached; `.headers` say which and until when.
            Unavailable: the index is needed and cannot be used.
        """
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep_forever(), name="limits sweeper")
        limits = tenant.limits.over(self._defaults)
        state = self._state(tenant.id)
        least = estimated_tokens if demanded_tokens is None else demanded_tokens
        _fits(limits, least, sequences)
        permit = Permit(state, limits, _reserved(limits, estimated_tokens, least), sequences)
        try:
            await self._take(permit, tenant, model)
        except BaseException:
            permit.release()
            raise
        return permit

    async def close(self) -> None:
        """Give back everything that is leased and not used."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        await self._sweep(math.inf)

    async def _take(self, permit: Permit, tenant: Tenant, model: str) -> None:
        state, limits = permit.state, permit.limits
        if limits.monthly_tokens and not await state.month.take(
            permit.estimated, limits.monthly_tokens
        ):
            wait = state.month.seconds_left()
            spent = f"the budget of {limits.monthly_tokens} tokens this month is used up"
            raise permit.refusal(tenant, model, spent, wait, code="insufficient_quota")
        permit.took_month = limits.monthly_tokens is not None
        if limits.max_concurrency and not await state.slots.take(
            limits.max_concurrency, permit.sequences
        ):
            what = f"{limits.max_concurrency} requests are in flight, which is the limit"
            raise permit.refusal(tenant, model, what, 1.0)
        permit.took_slot = limits.max_concurrency is not None
        if limits.rpm and (wait := await state.requests.take(permit.sequences, limits.rpm)):
            what = f"the limit of {limits.rpm} requests per minute is reached"
            raise permit.refusal(tenant, model, what, wait)
        permit.took_request = limits.rpm is not None
        if limits.tpm and (wait := await state.tokens.take(permit.estimated, limits.tpm)):
            what = f"the limit of {limits.tpm} tokens per minute is reached"
            raise permit.refusal(tenant, model, what, wait)
        permit.took_tokens = limits.tpm is not None
        permit.admitted = True

    def _state(self, tenant_id: str) -> _State:
        state = self._states.get(tenant_id)
        if state is None:
            state = self._states[tenant_id] = _State(
                RateLease(self._ledger, tenant_id, "requests"),
                RateLease(self._ledger, tenant_id, "tokens"),
                SlotLease(self._ledger, tenant_id),
                Month(self._ledger, tenant_id),
            )
        return state

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                await self._sweep(time.monotonic())
            except (Unavailable, SQLAlchemyError) as error:
                _log.warning("leased limits could not be renewed: %s", error)

    async def _sweep(self, now: float) -> None:
        """Give idle leases back, renew slots in use; all in the ledger's next transaction."""
        jobs = []
        for state in self._states.values():
            jobs += [lease.flush() for lease in (state.requests, state.tokens) if lease.idle(now)]
            if state.slots.idle(now) and state.slots.held > state.slots.used:
                jobs.append(state.slots.flush())
            elif now - state.renewed > SLOT_SECONDS / 3:
                state.renewed = now
                jobs.append(state.slots.renew())
        await asyncio.gather(*jobs)


class Permit:
    """One admitted request. `settle` and `release` may be called in any order, any number of times.

    A permit that is released without `settle` gives its estimated tokens back.
    """

    __slots__ = (
        "_released", "_settled", "admitted", "estimated", "limits", "sequences", "state",
        "took_month", "took_request", "took_slot", "took_tokens",
    )  # fmt: skip

    def __init__(self, state: _State, limits: Limits, estimated: int, sequences: int) -> None:
        self.state = state
        self.limits = limits
        self.estimated = max(0, estimated)
        self.sequences = sequences
        self.took_month = self.took_slot = self.took_request = self.took_tokens = False
        self.admitted = self._settled = self._released = False

    def headers(self) -> dict[str, str]:
        """`x-ratelimit-{limit,remaining,reset}-{requests,tokens}` for the limits there are."""
        headers = {}
        for kind, limit, lease in (
            ("requests", self.limits.rpm, self.state.requests),
            ("tokens", self.limits.tpm, self.state.tokens),
        ):
            if limit:
                lease.per_minute = limit
                headers[f"x-ratelimit-limit-{kind}"] = str(limit)
                headers[f"x-ratelimit-remaining-{kind}"] = str(lease.remaining)
                headers[f"x-ratelimit-reset-{kind}"] = format_seconds(lease.reset)
        return headers

    def settle(self, prompt: int, completion: int) -> None:
        """Replace the estimate by the tokens the engine counted."""
        if not self._settled:
            self._settle(prompt + completion)

    def release(self) -> None:
        """The request is over."""
        if self._released:
            return
        self._released = True
        if not self._settled:
            self._settle(0)
        if self.took_slot:
            self.state.slots.give(self.sequences)
        if self.took_request and not self.admitted:
            self.state.requests.give(self.sequences)

    def _settle(self, tokens: int) -> None:
        self._settled = True
        if self.took_tokens:
            self.state.tokens.give(self.estimated - tokens)
        if self.took_month:
            self.state.month.settle(self.estimated, tokens)

    def refusal(
        self,
        tenant: Tenant,
        model: str,
        what: str,
        wait: float,
        *,
        code: str = "rate_limit_exceeded",
    ) -> RateLimited:
        """The 429 for this request."""
        seconds = max(1, math.ceil(wait))
        return RateLimited(
            f"`{model}` for `{tenant.name}`: {what}",
            headers={**self.headers(), "retry-after": str(seconds)},
            retry_after=wait,
            code=code,
            hint=f"try again in {format_seconds(wait)}",
        )


def _fits(limits: Limits, tokens: int, sequences: int) -> None:
    """Refuse what no waiting can help.

    Raises:
        InvalidInput: it is above a limit by itself.
    """
    for asked, limit, what in (
        (tokens, limits.tpm, "tokens per minute"),
        (sequences, limits.max_concurrency, "answers at once"),
        (sequences, limits.rpm, "answers per minute"),
    ):
        if limit is not None and asked > limit:
            raise InvalidInput(
                f"the request asks for {asked} {what}, and the tenant's limit is {limit}",
                hint="send it in smaller parts: fewer prompts, a smaller `n` or `max_tokens`",
            )


def _reserved(limits: Limits, estimated: int, least: int) -> int:
    """What to reserve: no more than there can be, for a client that sets its answer no bound.

    Half a minute's tokens, because a whole minute's are never there while others hold some.
    """
    bounds = [estimated]
    if limits.tpm is not None:
        bounds.append(limits.tpm // 2)
    if limits.monthly_tokens is not None:
        bounds.append(limits.monthly_tokens)
    return max(least, min(bounds))


def format_seconds(seconds: float) -> str:
    """A duration as `x-ratelimit-reset-*` headers write it: `120ms`, `7.66s`, `6m0s`, `2h0m0s`."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:.2f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"
