"""One request from its first byte to its last: the whole path in one place.

    resolve → allow → route → admit → warm → turn → lease → relay → settle

Invariant: whatever happens (an error, the client leaving, the engine dying), the permit, the turn
and the lease are given back, and what the engine counted is metered, exactly once; what it made and
did not count is metered at the most it can be.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from adapterworks.gateway.engines.engine import Engine, NotAsked
from adapterworks.gateway.engines.forms import FORMS
from adapterworks.gateway.engines.target import Target
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.request import shadow
from adapterworks.gateway.request.account import Account
from adapterworks.gateway.request.cost import demanded, expected, most
from adapterworks.gateway.request.endpoints import Call
from adapterworks.gateway.request.errors import InvalidField, shape_of
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.gateway.request.relay import Relay
from adapterworks.gateway.residency.resolve import missing
from adapterworks.gateway.tenants.tenant import Tenant
from adapterworks.manifests.errors import AdapterworksError

# What nginx calls it: the client closed the connection before the answer was complete.
_LEFT = 499
# Without fairness all requests stand in one line.
_EVERYONE = ""


class Exchange:
    """An ASGI answer; built when the request is understood, run when it is sent.

    Args:
        headers: the client's; a trace is continued from them.
    """

    def __init__(
        self,
        gateway: Gateway,
        call: Call,
        tenant: Tenant,
        receipt: Receipt,
        headers: Mapping[str, str],
    ) -> None:
        self._headers = headers
        self._gateway = gateway
        self._call = call
        self._tenant = tenant
        self._receipt = receipt
        self._account = Account(gateway, tenant, receipt, call)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; give up as soon as the client is gone."""
        work = asyncio.create_task(self._answer(send))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left = not work.done()
            work.cancel()
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone
        try:
            await work
        except asyncio.CancelledError:
            if not left:
                raise

    async def _answer(self, send: Send) -> None:
        account = self._account
        try:
            with self._gateway.tracing.span(
                "request",
                headers=self._headers,
                tenant=self._tenant.name,
                endpoint=self._call.endpoint.path,
                request_id=self._receipt.request_id,
            ):
                await self._admitted(await self._target(), send)
        except asyncio.CancelledError:
            account.close(_LEFT)
            raise
        except AdapterworksError as error:
            account.refused(error)
            await account.close(shape_of(error).status)
            raise
        except Exception:
            account.close(500)
            raise

    async def _admitted(self, target: Target, send: Send) -> None:
        gateway, tenant, call = self._gateway, self._tenant, self._call
        self._receipt.target = target
        engine = gateway.pool.route(target)
        queue = gateway.queue(engine)
        self._fits(queue.slots)
        cost = expected(call, engine.context)
        permit = await gateway.limiter.admit(
            tenant,
            model=target.access,
            estimated_tokens=cost.total,
            demanded_tokens=demanded(call, engine.context),
            sequences=call.asked.sequences,
        )
        try:
            self._receipt.limits = dict(permit.headers())
            if not call.endpoint.of_base:
                shadow.consider(gateway, call, target)
            residency = gateway.residency(engine)
            # A base's tokenizer is its adapters' too: none is loaded for it.
            release = None if call.endpoint.of_base else target.release
            if release is not None:
                self._account.phase = "cold"
                # Loaded before the turn: a cold adapter must not hold a place others could use.
                self._account.cold = await residency.warm(release)
            self._account.phase = "queue"
            async with (
                queue.turn(
                    tenant.id if gateway.config.fairness.on else _EVERYONE,
                    expected_tokens=cost.total,
                    weight=tenant.weight,
                    sequences=call.asked.sequences,
                ) as turn,
                contextlib.AsyncExitStack() as stack,
            ):
                gateway.metrics.queue_seconds.labels(engine.id, tenant.name).observe(turn.waited)
                try:
                    if release is not None:
                        await stack.enter_async_context(residency.lease(release))
                    await self._relay(engine, target, send)
                finally:
                    turn.settle(self._account.settle().total)
        finally:
            usage = self._account.settle()
            permit.settle(usage.prompt, usage.completion)
            permit.release()

    def _fits(self, slots: int) -> None:
        """Refuse more sequences than the engine works on at once.

        Raises:
            InvalidField: it would hold the whole engine, and longer than any other request.
        """
        asked = self._call.asked
        if asked.sequences > slots:
            param = "n" if asked.prompts <= slots and asked.choices > 1 else "prompt"
            raise InvalidField(
                f"`{param}` asks for {asked.sequences} answers at once, and the engine works on "
                f"{slots}",
                param=param,
                hint="send several requests; they are worked on side by side",
            )

    async def _target(self) -> Target:
        asked = self._call.asked
        sticky = f"{self._tenant.id}\n{asked.end_user}" if asked.end_user else self._tenant.id
        target = await self._gateway.resolver.target(asked.model, sticky)
        if not self._tenant.may_use(target.access):
            raise missing(asked.model)
        return target

    async def _relay(self, engine: Engine, target: Target, send: Send) -> None:
        payload = self._payload(engine, target)
        relay = Relay(
            self._call,
            self._receipt,
            self._account,
            str(payload["model"]),
            target,
            send,
            keep_alive=self._gateway.config.http.keep_alive_seconds,
        )
        headers = {"x-request-id": self._receipt.request_id}
        self._gateway.tracing.inject(headers)
        self._account.asked(most(self._call, engine.context))
        path = self._call.endpoint.engine_path
        try:
            async with engine.post(path, to_json(payload), headers) as upstream:
                await relay.answer(upstream)
        except NotAsked:
            self._account.cost_nothing()
            raise

    def _payload(self, engine: Engine, target: Target) -> dict[str, Any]:
        """What the engine is sent."""
        body = self._call.payload
        if self._call.endpoint.of_base:
            return {**body, "model": engine.base.model}
        if self._call.asked.stream and self._call.endpoint.usage_in_stream:
            # Counted with every event: known to the token whenever the client or the engine goes.
            counts = {"include_usage": True, "continuous_usage_stats": True}
            body = {**body, "stream_options": counts}
        if target.release is None or target.digest is None:
            salt = self._tenant.cache_salt
            return {**body, "model": engine.base.model, "cache_salt": salt}
        servable = target.release.servable
        assert servable is not None
        form = FORMS[servable.form]
        return form.address(engine, target.digest, servable, body, self._tenant.cache_salt)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
