"""One HTTP request that Envoy has, from its head to the answer's last byte.

    the head comes → who → the body comes → what → the gateway's own `Exchange`
    → its engine, named to Envoy
    → the engine's answer comes by Envoy → rewritten and metered → back to Envoy

So everything holds that holds for a request to the gateway itself: tenants, limits, turns, loads
and proofs, receipts, metering. Only the bytes of the request and of the answer go past it.

Invariants:
- of a request that is not let in, or is answered already, no body is kept;
- while a request is under way in an engine its turn and its adapter's seat are held; they are given
  back when Envoy has the answer's end, hangs up, or has taken longer than a request may;
- nothing of a client's steers an engine but its body, as the gateway understands it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from starlette.types import Message

from adapterworks.gateway.engines.engine import Engine, NotAsked
from adapterworks.gateway.engines.wire import Answer
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.picker import messages
from adapterworks.gateway.picker.headers import kept_here, not_shown
from adapterworks.gateway.picker.upstream import Upstream
from adapterworks.gateway.request.body import parse_body
from adapterworks.gateway.request.endpoints import ENDPOINTS, GENERATE, Endpoint, parse
from adapterworks.gateway.request.errors import (
    NoSuchPath,
    TooLarge,
    TooSlow,
    error_body,
    error_headers,
    shape_of,
)
from adapterworks.gateway.request.exchange import Exchange
from adapterworks.gateway.request.receipts import Receipt
from adapterworks.gateway.request.turned_away import turned_away
from adapterworks.gateway.tenants.errors import Unauthorized
from adapterworks.gateway.tenants.keys import key_id_of
from adapterworks.gateway.tenants.tenant import Tenant
from adapterworks.manifests.errors import AdapterworksError, Unavailable

_log = logging.getLogger(__name__)
_PATHS: dict[str, Endpoint] = {endpoint.path: endpoint for endpoint in (*ENDPOINTS, GENERATE)}


@dataclass(frozen=True, slots=True)
class Place:
    """Where Envoy finds an engine.

    Attributes:
        address: `ADDRESS:PORT`.
        path: that stands before every path of its own.
        authorization: what it is shown, as the header has it; None if nothing.
    """

    address: str
    path: str = ""
    authorization: str | None = None


class Pieces(Protocol):
    """A body in pieces as Envoy is told it."""

    def __call__(self, body: bytes, *, end: bool) -> Iterator[Any]:
        """`end`: this is all."""


Destination = Callable[[Engine], Awaitable[Place]]
"""Engine → where it is."""


class Session:
    """One request; `take` is told what Envoy says, `answers` gives what it is told.

    Attributes:
        broken: the answer ends before its end. Envoy must be told by an error: a stream that ends
            well would have it pass on what the engine says, as it is.
    """

    def __init__(self, gateway: Gateway, destination: Destination) -> None:
        self._gateway, self._destination = gateway, destination
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._out: asyncio.Queue[Any] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._upstream: Upstream | None = None
        self._head_told = False
        self._trailers: set[str] = set()  # that came, and pass behind the body that is said
        self.broken = False
        self._refusal: tuple[int, dict[str, str]] = (503, {})
        self._receipt = Receipt()
        self._endpoint: Endpoint | None = None
        self._tenant: Tenant | None = None
        self._not_let_in: Exception | None = None
        self._work: asyncio.Task[None] | None = None
        seconds = gateway.config.http.body_seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._late, seconds)

    async def answers(self) -> AsyncIterator[Any]:
        """What Envoy is told, until the request is over."""
        while (said := await self._out.get()) is not None:
            yield said

    def take(self, request: Any) -> None:
        """Envoy says something."""
        kind = request.WhichOneof("request")
        said = getattr(request, kind)
        if kind == "request_headers":
            self._headers = messages.headers_of(said)
            try:
                self._let_in()
            except Exception as error:  # what is made of it is `_answer`'s to say
                self._not_let_in = error
            if said.end_of_stream or self._not_let_in is not None:
                self._begin()
        elif kind == "request_body":
            if self._work is None:
                self._body += said.body
            if said.end_of_stream or len(self._body) > self._gateway.config.http.body_limit:
                self._begin()
        elif kind == "request_trailers":
            self._trailers.add(kind)
            self._begin()
        elif self._upstream is not None:
            if kind == "response_headers":
                self._upstream.begin(messages.headers_of(said))
                self._upstream.feed(b"", end=said.end_of_stream)
            elif kind == "response_body":
                self._upstream.feed(said.body, end=said.end_of_stream)
            else:
                self._trailers.add(kind)
                self._upstream.feed(b"", end=True)
        elif kind == "response_headers":  # of an answer of Envoy's own
            self._out.put_nowait(messages.to_client({}, ()))

    def no_more(self) -> None:
        """Envoy says nothing further: unless all of the answer is here, it never will be."""
        if self._upstream is not None and self._upstream.ended:
            return
        self._go()
        if self._work is None:
            self._timer.cancel()
            self._out.put_nowait(None)

    async def close(self) -> None:
        """Envoy has gone."""
        self._timer.cancel()
        self._go()
        if self._work is not None:
            await asyncio.wait({self._work})

    def _go(self) -> None:
        self._gone.set()
        if self._upstream is not None:
            self._upstream.broken()

    def _late(self, seconds: float) -> None:
        if self._not_let_in is None:
            self._not_let_in = TooSlow(f"the body did not arrive within {seconds:g} s")
        self._begin()

    def _begin(self) -> None:
        self._timer.cancel()
        if self._work is None:
            self._work = asyncio.create_task(self._answer())

    async def _answer(self) -> None:
        try:
            await (await self._exchange())({"type": "http"}, self._receive, self._send)
        except AdapterworksError as error:
            anthropic = self._endpoint is not None and self._endpoint.anthropic
            self._instead(error, anthropic=anthropic)
        except Exception:
            _log.exception("a request behind Envoy failed")
            self._instead(Unavailable("the request failed here"))
        finally:
            self._out.put_nowait(None)

    def _instead(self, error: AdapterworksError, *, anthropic: bool = False) -> None:
        if self._head_told:
            self.broken = True
            return
        headers = {
            "content-type": "application/json",
            **self._receipt.headers(),
            **error_headers(error),
        }
        body = error_body(error, anthropic=anthropic)
        self._out.put_nowait(messages.instead(shape_of(error).status, headers, body))

    def _let_in(self) -> None:
        """See by the head what is asked, and who asks.

        Raises:
            NoSuchPath, Unauthorized: as the gateway's own paths do.
        """
        path = self._headers.get(":path", "").partition("?")[0]
        self._endpoint = _PATHS.get(path)
        if self._endpoint is None or self._headers.get(":method") != "POST":
            raise NoSuchPath(
                f"`{self._headers.get(':method')} {path}` is no request to an engine",
                hint="route only paths that ask a model here, and others to the gateway",
            )
        scheme, _, key = self._headers.get("authorization", "").partition(" ")
        shown = key.strip() if scheme.lower() == "bearer" else self._headers.get("x-api-key")
        try:
            self._tenant = self._gateway.authenticate(shown)
        except Unauthorized:
            why = turned_away(shown, request_id=self._receipt.request_id, client="")
            self._gateway.metrics.refusals.labels("", f"auth_{why}").inc()
            raise
        if self._gateway.tenants is not None and shown is not None:
            self._receipt.key_id = key_id_of(shown) or ""

    async def _exchange(self) -> Exchange:
        """The request, understood.

        Raises:
            AdapterworksError: as the gateway's own paths do.
        """
        if self._not_let_in is not None:
            raise self._not_let_in
        assert self._endpoint is not None
        assert self._tenant is not None
        gateway = self._gateway
        if len(self._body) > gateway.config.http.body_limit:
            raise TooLarge(f"the request's body is above {gateway.config.http.body_limit} bytes")
        endpoint, data = self._endpoint, bytes(self._body)
        default = gateway.config.default_adapter
        call = await gateway.reading.of(
            self._tenant.id, len(data), lambda: parse(endpoint, parse_body(data), default=default)
        )
        self._receipt.ignored = call.ignored
        return _ByEnvoy(
            gateway, call, self._tenant, self._receipt, self._headers, self._to_engine,
            lambda: self._upstream is None,
        )  # fmt: skip

    @contextlib.asynccontextmanager
    async def _to_engine(
        self, engine: Engine, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AsyncIterator[Answer]:
        """Have Envoy ask the engine, and read what it brings."""
        if self._upstream is not None:
            raise NotAsked(
                "this needs a second question to the engine, and Envoy asks once",
                hint="send it again, with a single prompt",
                retry_after=1.0,
            )
        place = await self._destination(engine)
        told = {":path": place.path + path, "content-type": "application/json", **headers}
        if place.authorization is not None:
            told["authorization"] = place.authorization
        upstream = self._upstream = Upstream(self._gateway.config.http.request_seconds)
        self._out.put_nowait(
            messages.to_engine(place.address, told, kept_here(self._headers, told))
        )
        self._say_body(messages.request_body, body, "request_trailers")
        try:
            try:
                await upstream.begun()
            except (ConnectionError, TimeoutError) as error:
                raise Unavailable("the engine failed to answer", retry_after=1.0) from error
            yield cast(Answer, upstream)
        finally:
            upstream.leave()

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in message["headers"]}
            if self._upstream is None or message["status"] != 200:
                self._refusal = (message["status"], headers)
                return
            self._head_told = True
            headers.pop("content-length", None)
            hidden = not_shown(self._upstream.fields, headers)
            self._out.put_nowait(messages.to_client(headers, hidden))
        elif not self._head_told:  # an answer of the exchange's own: the gateway is being stopped
            status, headers = self._refusal
            self._out.put_nowait(messages.instead(status, headers, message["body"]))
        elif message.get("more_body", False):
            for piece in messages.response_body(message["body"], end=False):
                self._out.put_nowait(piece)
        else:
            self._say_body(messages.response_body, message["body"], "response_trailers")

    def _say_body(self, pieces: Pieces, body: bytes, trailers: str) -> None:
        """The last of a body, and then the trailers, which end it instead where there are some."""
        follow = trailers in self._trailers
        for piece in pieces(body, end=not follow):
            self._out.put_nowait(piece)
        if follow:
            self._out.put_nowait(messages.trailers(trailers))


class _ByEnvoy(Exchange):
    """An exchange whose engine is asked by Envoy."""

    def __init__(self, *given: Any) -> None:
        *common, self._by_envoy, self._unasked = given
        super().__init__(*common)

    def _may_ask_another(self) -> bool:
        """Envoy asks once: an adapter would be loaded elsewhere for nothing."""
        unasked: bool = self._unasked()
        return unasked

    def _post(
        self, engine: Engine, path: str, body: bytes, headers: Mapping[str, str]
    ) -> contextlib.AbstractAsyncContextManager[Answer]:
        found: contextlib.AbstractAsyncContextManager[Answer] = self._by_envoy(
            engine, path, body, headers
        )
        return found
