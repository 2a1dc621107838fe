"""Envoy's external processor, as Gateway API's inference extension has endpoint pickers.

    [picker]
    listen = "0.0.0.0:9002"

For each request Envoy opens a stream, sends head and body, is told which engine it goes to
(`x-gateway-destination-endpoint`), and brings the answer by. Bodies are full-duplex streams; the
filter's configuration is in docs/how-to/fleet.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import grpc

from adapterworks.gateway.engines.engine import Engine, NotAsked
from adapterworks.gateway.engines.remote import RemoteEngine
from adapterworks.gateway.engines.wires import credentials
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.picker import ext_proc_pb2 as wire
from adapterworks.gateway.picker.session import Place, Session
from adapterworks.manifests.errors import InvalidInput, Unavailable

_SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor"
# An Envoy that vanishes says nothing; what it had under way is given up then.
_KEEPALIVE = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)
_log = logging.getLogger(__name__)


class Picker:
    """The service; its requests are the gateway's.

    Args:
        listen: `HOST:PORT`; port 0 is any.
    """

    def __init__(self, gateway: Gateway, listen: str) -> None:
        self._gateway, self._listen = gateway, listen
        self._server: Any = None
        self.port = 0

    async def start(self) -> None:
        """Listen.

        Raises:
            InvalidInput: the gateway starts engines of its own, which Envoy cannot reach.
            Unavailable: the port is taken.
        """
        for engine in self._gateway.pool.engines:
            _require_elsewhere(engine)
        handler = grpc.stream_stream_rpc_method_handler(
            self._process,
            request_deserializer=wire.ProcessingRequest.FromString,
            response_serializer=wire.ProcessingResponse.SerializeToString,
        )
        self._server = grpc.aio.server(options=_KEEPALIVE)
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(_SERVICE, {"Process": handler}),)
        )
        try:
            self.port = self._server.add_insecure_port(self._listen)
        except RuntimeError as error:
            raise Unavailable(
                f"the picker cannot listen on `{self._listen}`",
                hint="another process has the port, or the address is not this machine's",
            ) from error
        await self._server.start()
        _log.info("the picker listens on port %d", self.port)

    async def stop(self, grace: float) -> None:
        """Take nothing new; what is under way is cut off after `grace` seconds. Again is sooner."""
        if self._server is not None:
            await self._server.stop(grace)

    async def _process(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        session = Session(self._gateway, _place)

        async def read() -> None:
            try:
                async for request in requests:
                    session.take(request)
            except Exception as error:  # whatever it is, somebody waits for what it would have been
                session.broken = True
                self._gateway.supervisor.saw("picker", error)
            finally:
                session.no_more()

        reader = asyncio.create_task(read())
        try:
            async for said in session.answers():
                yield said
            if session.broken:
                await context.abort(grpc.StatusCode.INTERNAL, "the answer was broken off")
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
            await session.close()


def _require_elsewhere(engine: Engine) -> RemoteEngine:
    if not isinstance(engine, RemoteEngine):
        raise InvalidInput(
            f"engine {engine.id} is started by this gateway, and Envoy cannot reach it",
            hint="with `[picker]`, name engines by their URL, or where they are found",
        )
    return engine


async def _place(engine: Engine) -> Place:
    """Where Envoy finds the engine, by address.

    Raises:
        NotAsked: its name has none.
    """
    remote = _require_elsewhere(engine)
    at = urlsplit(remote.url)
    host, port = at.hostname or "", at.port or (443 if at.scheme == "https" else 80)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise NotAsked(f"engine {engine.id} has no address now", retry_after=2.0) from error
        address = ipaddress.ip_address(found[0][4][0])
    name = f"[{address}]" if address.version == 6 else str(address)
    return Place(f"{name}:{port}", at.path.rstrip("/"), credentials(at, remote.key))
