"""One request from its first byte to its last: the whole path in one place.

    authenticate → reduce → resolve → allow → admit → route → warm → turn → lease → relay → settle

Invariant: whatever happens (an error, the client leaving, the engine dying), the permit, the turn
and the lease are given back and the tokens the engine counted are metered, exactly once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import aiohttp
from pydantic_core import from_json, to_json
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.forms import FORMS
from adapterworks.gateway.engines.target import Target
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.request import shadow
from adapterworks.gateway.request.account import Account
from adapterworks.gateway.request.errors import TooLarge, TooSlow, error_body, shape_of
from adapterworks.gateway.request.fields import Endpoint, estimate_tokens, reduce_fields
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.gateway.request.stream import Rewriter, read_usage, rewrite_whole
from adapterworks.gateway.residency.resolve import missing
from adapterworks.gateway.tenants.tenant import Tenant
from adapterworks.manifests.errors import AdapterworksError, InvalidInput, NotFound, Unavailable

# What nginx calls it: the client closed the connection before the answer was complete.
_LEFT = 499
# Without fairness all requests stand in one line.
_EVERYONE = ""
_BROKEN = (aiohttp.ClientError, ConnectionError, TimeoutError)


class Exchange:
    """An ASGI answer; built when the body has been read, run when it is sent.

    Args:
        body: the client's JSON object.
        size: bytes it took.
        headers: the client's; a trace is continued from them.
    """

    def __init__(
        self,
        gateway: Gateway,
        endpoint: Endpoint,
        tenant: Tenant,
        receipt: Receipt,
        body: dict[str, Any],
        size: int,
        headers: Mapping[str, str],
    ) -> None:
        self._headers = headers
        self._gateway = gateway
        self._endpoint = endpoint
        self._tenant = tenant
        self._receipt = receipt
        self._estimate = estimate_tokens(endpoint, body, size)
        self._body, receipt.ignored = reduce_fields(endpoint, body)
        self._account = Account(gateway, tenant, receipt, endpoint.path)
        self._streamed = self._body.get("stream") is True

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
        # Not when the exchange is made: who leaves before this runs is never closed.
        account.begin()
        try:
            with self._gateway.tracing.span(
                "request",
                headers=self._headers,
                tenant=self._tenant.name,
                endpoint=self._endpoint.path,
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
        gateway, tenant = self._gateway, self._tenant
        self._receipt.target = target
        engine = gateway.pool.route(target)
        permit = await gateway.limiter.admit(
            tenant, model=target.access, estimated_tokens=self._estimate
        )
        try:
            self._receipt.limits = dict(permit.headers())
            shadow.consider(gateway, self._endpoint, target, self._body)
            residency = gateway.residency(engine)
            if target.release is not None:
                self._account.phase = "cold"
                # Loaded before the turn: a cold adapter must not hold a place others could use.
                self._account.cold = await residency.warm(target.release)
            self._account.phase = "queue"
            async with (
                gateway.queue(engine).turn(
                    tenant.id if gateway.config.fairness.on else _EVERYONE,
                    expected_tokens=self._estimate,
                    weight=tenant.weight,
                ) as turn,
                contextlib.AsyncExitStack() as stack,
            ):
                gateway.metrics.queue_seconds.labels(engine.id, tenant.name).observe(turn.waited)
                try:
                    if target.release is not None:
                        await stack.enter_async_context(residency.lease(target.release))
                    await self._relay(engine, target, send)
                finally:
                    turn.settle(self._account.usage.total)
        finally:
            permit.settle(self._account.usage.prompt, self._account.usage.completion)
            permit.release()

    async def _target(self) -> Target:
        model = self._body.get("model")
        if not isinstance(model, str) or not model:
            raise InvalidInput(
                "`model` is missing", hint="`GET /v1/models` lists the models you may use"
            )
        user = self._body.get("user")
        sticky = f"{self._tenant.id}\n{user}" if isinstance(user, str) else self._tenant.id
        target = await self._gateway.resolver.target(model, sticky)
        if not self._tenant.may_use(target.access):
            raise missing(model)
        return target

    async def _relay(self, engine: Engine, target: Target, send: Send) -> None:
        payload, keep = self._payload(engine, target)
        headers = {"x-request-id": self._receipt.request_id}
        self._gateway.tracing.inject(headers)
        async with engine.post(self._endpoint.path, to_json(payload), headers) as upstream:
            if upstream.status >= 500:
                raise Unavailable("the engine failed to answer", retry_after=1.0)
            if upstream.status == 200 and upstream.content_type == "text/event-stream":
                model = str(payload["model"])
                rewriter = Rewriter(model, target.ref, self._account.usage, keep)
                await self._relay_stream(upstream, rewriter, send)
            else:
                await self._relay_whole(upstream, str(payload["model"]), target, send)

    def _payload(self, engine: Engine, target: Target) -> tuple[dict[str, Any], str]:
        """What the engine is sent, and which usage counts of a stream the client asked for."""
        body, keep = self._body, "all"
        if self._streamed and self._endpoint.usage_in_stream:
            options = body.get("stream_options")
            asked = options if isinstance(options, dict) else {}
            keep = "none"
            if asked.get("include_usage"):
                keep = "all" if asked.get("continuous_usage_stats") else "last"
            # Counted with every event: known to the token whenever the client or the engine goes.
            counts = {"include_usage": True, "continuous_usage_stats": True}
            body = {**body, "stream_options": counts}
        if target.release is None or target.digest is None:
            salt = self._tenant.cache_salt
            return {**body, "model": engine.base.model, "cache_salt": salt}, keep
        servable = target.release.servable
        assert servable is not None
        form = FORMS[servable.form]
        return form.address(engine, target.digest, servable, body, self._tenant.cache_salt), keep

    async def _relay_whole(
        self, upstream: aiohttp.ClientResponse, model: str, target: Target, send: Send
    ) -> None:
        try:
            body = await upstream.read()
        except _BROKEN as error:
            raise Unavailable("the engine broke off its answer", retry_after=2.0) from error
        if upstream.status == 200:
            counts = from_json(body).get("usage")
            if isinstance(counts, dict):
                read_usage(counts, self._account.usage)
            body = rewrite_whole(body, model, target.ref)
        elif b'"error"' in body:
            body = body.replace(model.encode(), target.ref.encode())
        else:
            raise NotFound(f"`{target.ref}` does not offer `{self._endpoint.path}`")
        # Durable before the client can have the last byte: what was answered was metered.
        await self._account.close(upstream.status)
        await self._send_head(send, upstream.status, "application/json", length=len(body))
        await send({"type": "http.response.body", "body": body})

    async def _relay_stream(
        self, upstream: aiohttp.ClientResponse, rewriter: Rewriter, send: Send
    ) -> None:
        await self._send_head(send, 200, "text/event-stream; charset=utf-8")
        status, last = 200, b""
        try:
            async for chunk in upstream.content.iter_any():
                events = rewriter.feed(chunk)
                if rewriter.finished:
                    last += events
                elif events:
                    await send({"type": "http.response.body", "body": events, "more_body": True})
                    self._account.token()
            last += rewriter.tail()
            if not rewriter.finished:
                status, last = 503, self._broken()
        except _BROKEN:
            status, last = 503, self._broken()
        await self._account.close(status)
        await send({"type": "http.response.body", "body": last})

    def _broken(self) -> bytes:
        """The event that ends a stream whose engine went away: an error, as clients know it."""
        error = Unavailable(
            "the engine broke off its answer", hint="send the request again", retry_after=2.0
        )
        body = error_body(error, anthropic=self._endpoint.anthropic)
        name = b"event: error\n" if not self._endpoint.usage_in_stream else b""
        return name + b"data: " + body + b"\n\n"

    async def _send_head(
        self, send: Send, status: int, content_type: str, length: int | None = None
    ) -> None:
        headers = [(b"content-type", content_type.encode())]
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        if content_type.startswith("text/event-stream"):
            headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
        headers += [
            (name.encode(), value.encode("latin-1", "replace"))
            for name, value in self._receipt.headers().items()
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})


async def read_json(request: Request, limit: int, seconds: float) -> tuple[dict[str, Any], int]:
    """The request's body as a JSON object, and its size in bytes.

    Raises:
        TooLarge: it is above `limit` bytes.
        TooSlow: it did not come within `seconds`.
        InvalidInput: it is no JSON object.
    """
    too_large = TooLarge(f"the request's body is above {limit} bytes")
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                data += chunk
                if len(data) > limit:
                    raise too_large
    except TimeoutError as error:
        raise TooSlow(f"the body did not arrive within {seconds:g} s") from error
    try:
        body = from_json(bytes(data), allow_inf_nan=False)
    except ValueError as error:
        raise InvalidInput(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise InvalidInput("the body is not a JSON object")
    return body, len(data)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
