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

If the index cannot be used, or takes longer than `ADMISSION_SECONDS`, a request whose lease is used
up is refused with `Unavailable`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
import uuid
from collections.abc import Callable

from adapterworks.gateway.admission.errors import RateLimited
from adapterworks.gateway.admission.lease import RateLease, SlotLease
from adapterworks.gateway.admission.ledger import SLOT_SECONDS, Ledger
from adapterworks.gateway.admission.month import LAG_SECONDS, Month
from adapterworks.gateway.admission.permit import Permit, State, fits, reserved
from adapterworks.gateway.admission.shared import SharedLedger
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.gateway.supervision.supervisor import Supervisor, Worker
from adapterworks.gateway.tenants.tenant import Limits, Tenant
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.index.database import Database

__all__ = ["Limiter", "Permit", "RateLimited"]

ADMISSION_SECONDS = 1.5
CLOSE_SECONDS = 5.0
_INDEX_SECONDS = 3.0  # a lock of the limits is waited for
_SWEEP_SECONDS = 1.0
_log = logging.getLogger(__name__)


class Limiter:
    """Admission for one gateway process; belongs to one event loop."""

    def __init__(
        self,
        database: Database,
        *,
        defaults: Limits = Limits(),  # noqa: B008
        supervisor: Supervisor | None = None,
        counted: Callable[[], float] = lambda: math.inf,
    ) -> None:
        """Hold the limits that tenants have in `database`.

        Args:
            counted: see `Month`.
        """
        self._counted = counted
        migrate(database)
        # Not the registry's lock: a publish or a gc that takes its time holds up no request.
        self._own = database.aside("limits", patience=_INDEX_SECONDS)
        if self._own.is_sqlite:
            migrate(self._own)
        ledger = Ledger(self._own, holder=uuid.uuid4().hex, metered=database)
        self._supervisor = supervisor or Supervisor()
        self._ledger = SharedLedger(ledger, self._supervisor)
        self.defaults = defaults
        self._states: dict[str, State] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def admit(
        self,
        tenant: Tenant,
        *,
        model: str,
        estimated_tokens: int,
        demanded_tokens: int | None = None,
        sequences: int = 1,
        at_once: int | None = None,
    ) -> Permit:
        """Admit one request.

        Args:
            model: what was asked for, for the error's message.
            estimated_tokens: prompt tokens and the most the answer may have.
            demanded_tokens: what cannot be less; all of them if it is not said. What is beyond is
                reserved up to half a minute's limit, or to what is left of the month's.
            sequences: answers that the engine works on for it; each counts as a request.
            at_once: the most of them that it works on at the same time; all if it is not said.

        Raises:
            InvalidInput: it is above a limit by itself, so that it never can be admitted.
            RateLimited: a limit is reached; `.headers` say which and until when.
            Unavailable: the index is needed and cannot be used.
        """
        if self._sweeper is None:
            self._sweeper = self._supervisor.task("limits sweeper", self._sweep_forever)
        limits = tenant.limits.over(self.defaults)
        state = self._state(tenant.id)
        least = estimated_tokens if demanded_tokens is None else demanded_tokens
        at_once = sequences if at_once is None else at_once
        fits(limits, least, sequences, at_once)
        permit = Permit(
            state, limits, reserved(limits, estimated_tokens, least), least, sequences, at_once
        )
        try:
            # What is taken meanwhile is not lost: it stays leased for the next request.
            async with asyncio.timeout(ADMISSION_SECONDS):
                await self._take(permit, tenant, model)
        except BaseException as error:
            permit.release()
            if isinstance(error, TimeoutError):
                what = "the limits cannot be looked up now"
                raise Unavailable(what, hint="try again shortly", retry_after=2.0) from error
            raise
        return permit

    async def close(self) -> None:
        """Give back everything that is leased and not used."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._sweep(math.inf)
        except (TimeoutError, Unavailable) as error:
            _log.warning("leased limits could not be given back: %s", error)
        self._ledger.close()
        self._own.close()

    async def _take(self, permit: Permit, tenant: Tenant, model: str) -> None:
        state, limits = permit.state, permit.limits
        if limits.monthly_tokens:
            await self._take_of_month(permit, tenant, model, limits.monthly_tokens)
        if limits.max_concurrency and not await state.slots.take(
            limits.max_concurrency, permit.at_once
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

    async def _take_of_month(self, permit: Permit, tenant: Tenant, model: str, budget: int) -> None:
        month = permit.state.month
        taken = await month.take(permit.estimated, budget, least=permit.least)
        if taken is not None:
            permit.estimated, permit.took_month = taken, True
            return
        what = f"the budget of {budget} tokens this month"
        if month.lacks(permit.least, budget):
            wait = month.seconds_left()
            raise permit.refusal(
                tenant, model, f"{what} is used up", wait, code="insufficient_quota"
            )
        # What they do not need they give back, and what they did need is metered by then.
        what = f"requests in flight hold what is left of {what}"
        raise permit.refusal(tenant, model, what, LAG_SECONDS)

    def _state(self, tenant_id: str) -> State:
        state = self._states.get(tenant_id)
        if state is None:
            state = self._states[tenant_id] = State(
                RateLease(self._ledger, tenant_id, "requests"),
                RateLease(self._ledger, tenant_id, "tokens"),
                SlotLease(self._ledger, tenant_id),
                Month(self._ledger, tenant_id, self._supervisor, self._counted),
            )
        return state

    async def _sweep_forever(self, worker: Worker) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                await self._sweep(time.monotonic())
            except Unavailable as error:
                _log.warning("leased limits could not be renewed: %s", error)
            worker.beat()

    async def _sweep(self, now: float) -> None:
        """Give idle leases back, renew slots in use; all in the ledger's next transaction.

        A tenant that has nothing leased is no work; one that has not been here for a while is
        forgotten.
        """
        jobs = []
        for tenant_id, state in list(self._states.items()):
            leases = (state.requests, state.tokens)
            jobs += [lease.flush() for lease in leases if lease.owes and lease.idle(now)]
            if state.slots.held > state.slots.used and state.slots.idle(now):
                jobs.append(state.slots.flush())
            elif state.slots.held and now - state.renewed > SLOT_SECONDS / 3:
                state.renewed = now
                jobs.append(state.slots.renew())
            if state.forgettable(now):
                del self._states[tenant_id]
        await asyncio.gather(*jobs)
