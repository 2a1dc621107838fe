"""One request from its first byte to its last: the whole path in one place.

    resolve → allow → route → admit → warm → turn and seat → relay → settle

Invariant: whatever happens (an error, the client leaving, the engine dying), the permit, the turn
and the seat are given back, and what the engine counted is metered, exactly once; what it made and
did not count is metered at the most it can be.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from pydantic_core import to_json
from starlette.types import Message, Receive, Scope, Send

from adapterworks.gateway.engines.engine import Engine, NotAsked, NotLoaded
from adapterworks.gateway.engines.target import Target
from adapterworks.gateway.engines.wire import Answer
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.request import shadow
from adapterworks.gateway.request.account import Account
from adapterworks.gateway.request.cost import demanded, expected, most, of_turn
from adapterworks.gateway.request.endpoints import EMBEDDINGS, Call
from adapterworks.gateway.request.errors import InvalidField, shape_of
from adapterworks.gateway.request.parts import in_parts
from adapterworks.gateway.request.payload import name_at, sent
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.gateway.request.recorder import recorder_of
from adapterworks.gateway.request.relay import Relay, answer_error
from adapterworks.gateway.request.scorable import require_scorable
from adapterworks.gateway.request.streamed import error_event
from adapterworks.gateway.residency.resolve import missing
from adapterworks.gateway.tenants.tenant import Tenant
from adapterworks.manifests.errors import AdapterworksError, Unavailable

# What nginx calls it: the client closed the connection before the answer was complete.
_LEFT = 499
# Without fairness all requests stand in one line.
_EVERYONE = ""
_log = logging.getLogger(__name__)
T = TypeVar("T")
Take = Callable[[Answer], Awaitable[T]]
"""What is done with the engine's answer, while the turn lasts."""


class Exchange:
    """An ASGI answer; built when the request is understood, run when it is sent.

    Args:
        headers: the client's; a trace is continued from them.
        asked_again: whether the same request follows, under the same receipt, where this one ends
            with an error or is cut off, and an engine may have worked on it or not: then that one
            alone is metered.

    Attributes:
        begun: something of the answer was sent.
    """

    def __init__(
        self,
        gateway: Gateway,
        call: Call,
        tenant: Tenant,
        receipt: Receipt,
        headers: Mapping[str, str],
        *,
        asked_again: Callable[[BaseException, bool], bool] = lambda error, spent: False,
    ) -> None:
        self._headers = headers
        self._asked_again = asked_again
        self._gateway = gateway
        self._call = call
        self._tenant = tenant
        self._receipt = receipt
        receipt.of_base = call.endpoint.of_base
        self._account = Account(gateway, tenant, receipt, call)
        self.begun = False
        self._over = False
        self._left = False  # the client went before its answer was complete

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; give up as soon as the client is gone."""
        task = asyncio.current_task()
        assert task is not None

        async def sent(message: Message) -> None:
            self.begun = True
            await send(message)

        watch = asyncio.create_task(self._watch(receive, task))
        try:
            await self._answer(sent)
        except asyncio.CancelledError:
            if not self._left:  # the server ends, and its patience with it
                await self._cut(send)
                raise
            if task.uncancel():  # by somebody else too
                raise
        finally:
            self._over = True
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch

    async def _watch(self, receive: Receive, task: asyncio.Task[None]) -> None:
        """Give the answer up when the client has gone."""
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self._over:
            self._left = True
            task.cancel()

    async def _cut(self, send: Send) -> None:
        """Say that the answer ends here, where a bare end would look like one."""
        what = "the gateway is being stopped, and the answer with it"
        error = Unavailable(what, hint="send the request again", retry_after=1.0)
        if not self.begun:
            await answer_error(send, error, self._receipt, self._call)
        elif self._call.asked.stream:
            await send({"type": "http.response.body", "body": error_event(error, self._call)})

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
                target = await self._target()
                self._receipt.target = target
                with self._gateway.fleet.using(target) as engine:
                    await self._admitted(engine, target, send)
        except asyncio.CancelledError as error:
            account.close(_LEFT, metered=not self._asked_again(error, account.spent))
            raise
        except AdapterworksError as error:
            account.refused(error)
            metered = not self._asked_again(error, account.spent)
            await account.close(shape_of(error).status, metered=metered)
            raise
        except Exception:
            account.close(500)
            raise

    async def _admitted(self, engine: Engine, target: Target, send: Send) -> None:
        gateway, tenant, call = self._gateway, self._tenant, self._call
        most_at_once = tenant.limits.over(gateway.config.limits.tenant_limits()).max_concurrency
        places = min(gateway.queue(engine).slots, most_at_once or gateway.queue(engine).slots)
        parts = in_parts(call, places)
        at_once = max(part.asked.sequences for part in parts)
        self._fits(at_once, gateway.queue(engine).whole)
        if not gateway.meter.accepts():
            raise Unavailable("usage cannot be recorded now", retry_after=5.0)
        cost = expected(call, engine.context)
        permit = await gateway.limiter.admit(
            tenant,
            model=target.access,
            estimated_tokens=cost.total,
            demanded_tokens=demanded(call, engine.context),
            sequences=call.asked.sequences,
            at_once=at_once,
        )
        shadowed = False
        try:
            self._receipt.limits = dict(permit.headers())
            await require_scorable(engine, call)
            if not call.endpoint.of_base:
                shadowed = shadow.consider(gateway, parts[0], target, tenant, self._receipt)
            await self._somewhere(engine, target, parts, send)
        finally:
            if shadowed:
                gateway.capture.over(self._receipt.request_id)
            usage = self._account.settle()
            permit.settle(usage.prompt, usage.completion)
            permit.release()

    async def _somewhere(
        self, engine: Engine, target: Target, parts: Sequence[Call], send: Send
    ) -> None:
        """Answered by this engine, or by another one if it was not even asked: it has just ended.

        Parts of a list are not asked again elsewhere: some may have been answered.
        """
        fleet = self._gateway.fleet
        try:
            await self._answered(engine, target, parts, send)
        except NotAsked as error:
            if len(parts) > 1 or not self._may_ask_another():
                raise
            if not fleet.has_another(target, engine):
                raise
            _log.warning("engine %s was not reached: %s", engine.id, error.message)
            with fleet.using(target, but=engine) as other:
                self._fits(self._call.asked.sequences, self._gateway.queue(other).whole)
                await require_scorable(other, self._call)
                await self._answered(other, target, parts, send)

    def _may_ask_another(self) -> bool:
        """Whether a second engine can be asked where the first was not."""
        return True

    async def _answered(
        self, engine: Engine, target: Target, parts: Sequence[Call], send: Send
    ) -> None:
        relay = self._relay(engine, target, parts, send)
        if len(parts) == 1:
            await self._in_turn(engine, target, parts[0], relay.answer)
        elif self._call.asked.stream:
            await self._one_stream(engine, target, parts, relay)
        else:
            answers = [await self._in_turn(engine, target, p, relay.part) for p in parts]
            await relay.together(answers, parts)

    async def _one_stream(
        self, engine: Engine, target: Target, parts: Sequence[Call], relay: Relay
    ) -> None:
        """The parts' streams in turn; what fails after the first has begun ends it in an event."""
        for part in parts:
            try:
                await self._in_turn(engine, target, part, relay.answer)
            except AdapterworksError as error:
                if not relay.streamed.begun:
                    raise
                self._account.refused(error)
                await relay.streamed.fail(error)
            if relay.streamed.over:
                return

    async def _in_turn(self, engine: Engine, target: Target, call: Call, take: Take[T]) -> T:
        """Ask the engine when it is the request's turn; what it answers is given to `take`."""
        try:
            return await self._once(engine, target, call, take)
        except NotLoaded:
            if target.release is None:
                raise
            # Another gateway may have unloaded it, or the engine lost it: once more, loaded.
            self._gateway.residency(engine).lost([target.release.digest])
            return await self._once(engine, target, call, take)

    async def _once(self, engine: Engine, target: Target, call: Call, take: Take[T]) -> T:
        gateway, tenant = self._gateway, self._tenant
        # A base's tokenizer is its adapters' too: none is loaded for it.
        release = None if call.endpoint.of_base else target.release
        residency, queue = gateway.residency(engine), gateway.queue(engine)
        gate = None
        if release is not None:
            self._account.phase = "cold"
            # Loaded before the turn: a cold adapter must not hold a place others could use.
            self._account.cold |= await residency.warm(release, tenant.id)
            gate = residency.gate(release, tenant.id)
        self._account.phase = "queue"
        before = self._account.settle().total
        who = tenant.id if gateway.config.fairness.on else _EVERYONE
        async with queue.turn(
            who,
            expected_tokens=of_turn(call, expected(call, engine.context).total),
            weight=tenant.weight,
            sequences=call.asked.sequences,
            gate=gate,
        ) as turn:
            gateway.metrics.waited(engine.id, tenant.name, turn.waited)
            if release is not None:  # a proof goes past the queue: whoever it is for stands back
                queue.charge(who, residency.debt(release.digest))
            try:
                with gate.use() if gate is not None else contextlib.nullcontext():
                    return await self._ask(engine, target, call, take)
            finally:
                turn.settle(of_turn(call, self._account.settle().total - before))

    def _fits(self, at_once: int, slots: int) -> None:
        """Refuse more sequences than the engine works on at once.

        Raises:
            InvalidField: it would hold the whole engine, and longer than any other request.
        """
        asked = self._call.asked
        if at_once > slots:
            of_prompts = "input" if self._call.endpoint is EMBEDDINGS else "prompt"
            param = "n" if asked.prompts <= slots and asked.choices > 1 else of_prompts
            raise InvalidField(
                f"`{param}` asks for {asked.sequences} answers at once, and the engine works on "
                f"{slots}",
                param=param,
                hint="send several requests, or a list of prompts, which is worked on in turns",
            )

    async def _target(self) -> Target:
        asked = self._call.asked
        target = await self._gateway.resolver.target(
            asked.model, lambda: f"{self._tenant.id}\n{asked.sticky}"
        )
        if not self._tenant.may_use(target.access):
            raise missing(asked.model)
        return target

    def _relay(self, engine: Engine, target: Target, parts: Sequence[Call], send: Send) -> Relay:
        return Relay(
            self._call,
            parts,
            self._receipt,
            self._account,
            engine.base.model if self._call.endpoint.of_base else name_at(engine, target),
            target,
            send,
            keep_alive=self._gateway.config.http.keep_alive_seconds,
            recorder=recorder_of(
                self._gateway, self._tenant, self._call, self._receipt, target, engine
            ),
        )

    async def _ask(self, engine: Engine, target: Target, call: Call, take: Take[T]) -> T:
        payload = sent(engine, target, call, self._tenant.cache_salt)
        headers = {"x-request-id": self._receipt.request_id}
        self._gateway.tracing.inject(headers)
        self._account.asked(most(call, engine.context))
        receipt = self._receipt
        self._gateway.recent.note(
            self._tenant.id, receipt.request_id, target.access, receipt.answers
        )
        path = call.endpoint.engine_path
        try:
            async with self._post(engine, path, to_json(payload), headers) as upstream:
                return await take(upstream)
        except NotAsked:
            self._account.cost_nothing()
            raise

    def _post(
        self, engine: Engine, path: str, body: bytes, headers: Mapping[str, str]
    ) -> contextlib.AbstractAsyncContextManager[Answer]:
        """Ask the engine."""
        return engine.post(path, body, headers)
