"""Runs a gateway: the public listener, the private status socket, signals and draining.

Invariant: whatever ends the process, engines end with it; status is served on a unix socket that
only this user can open, never on the public port.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import socket
from types import FrameType
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from adapterworks.gateway.config.tables import HttpTable
from adapterworks.gateway.engines.local import LocalEngine
from adapterworks.gateway.engines.remote import RemoteEngine
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.http.app import create_app, create_registry_app
from adapterworks.gateway.http.connection import Connection
from adapterworks.gateway.http.draining import Draining
from adapterworks.gateway.http.reloading import Reloading, Source
from adapterworks.gateway.http.routes.registry.desk import Desk
from adapterworks.gateway.http.sockets import bind, bind_unix
from adapterworks.gateway.http.status import create_status_app
from adapterworks.gateway.jobs.service import start_jobs
from adapterworks.gateway.webhooks.sending import start_webhooks
from adapterworks.manifests.errors import Unavailable
from adapterworks.manifests.installing import install

SETTLE_SECONDS = 0.1  # between two looks at what is loaded to begin with


class Server(uvicorn.Server):
    """The public server: a signal makes the gateway say that it drains.

    A connection that a client keeps must not be closed while its next request is on the way. So
    after SIGTERM requests are answered for a while, each as the last of its connection.

    Args:
        linger: seconds of it, as long as there are connections.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        on_exit: Callable[[], None],
        *,
        signals: bool,
        linger: float,
    ) -> None:
        super().__init__(config)
        self._on_exit = on_exit
        self._signals = signals
        self._linger = linger
        self._ends: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop accepting, soon; requests in flight are finished (a second Ctrl-C drops them)."""
        self._on_exit()
        if sig == signal.SIGTERM and self._ends is None:
            self._ends = time.monotonic() + self._linger
            last = [*self.config.encoded_headers, (b"connection", b"close")]
            self.config.encoded_headers = self.server_state.default_headers = last
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second: whether it is time to stop accepting."""
        if self._ends is not None:
            left = not self.server_state.connections
            self.should_exit |= left or time.monotonic() >= self._ends
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals, and end normally after one instead of raising it again."""
        handled = (signal.SIGINT, signal.SIGTERM) if self._signals else ()
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _Quiet(uvicorn.Server):
    """The status server: signals belong to the public one."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle none."""
        yield


async def run_gateway(
    gateway: Gateway,
    *,
    run: Path,
    say: Callable[[str], None],
    on_ready: Callable[[str], None],
    own_process: bool = True,
    source: Source | None = None,
) -> None:
    """Serve until a signal, or until the task is cancelled; everything has stopped then.

    Args:
        run: folder of the status socket.
        say: progress lines for a person.
        on_ready: called once with the URL when every local engine answers, and has loaded and
            proved what it is to begin with, and every other one was asked once.
        own_process: whether signals and Python's collector are the gateway's to handle; false in
            a thread of a process that does other things too.
        source: where the configuration is read again.

    Raises:
        Unavailable: the port is taken, or a local engine did not start.
    """
    config = gateway.config
    path: Path | None = None
    picker: Draining | None = None
    public: Server | None = None
    try:
        with bind(config.host, config.port) as public_socket:
            port = public_socket.getsockname()[1]
            path = run / f"gateway-{port}.sock"
            with bind_unix(path) as status_socket:
                await gateway.start()
                start_jobs(gateway)
                start_webhooks(gateway)
                picker = await _picker(gateway, say)
                if source is not None:
                    Reloading(gateway, source).start(signals=own_process)
                if own_process:
                    quieten_collector()
                host = f"[{config.host}]" if ":" in config.host else config.host
                application = create_app(gateway)
                public = Server(
                    uvicorn_config(
                        application, host=config.host, port=config.port, http=config.http
                    ),
                    on_exit=lambda: setattr(gateway, "draining", True),
                    signals=own_process,
                    linger=config.http.linger_seconds,
                )
                status = _Quiet(uvicorn_config(create_status_app(gateway, port), http=config.http))
                await _serve(
                    gateway,
                    {public: public_socket, status: status_socket},
                    on_ready=lambda: on_ready(f"http://{host}:{port}"),
                    say=say,
                )
        say("stopping")
    finally:
        if picker is not None:
            await picker.end(at_once=public is not None and public.force_exit)
        await gateway.stop()
        if path is not None:
            path.unlink(missing_ok=True)


async def _picker(gateway: Gateway, say: Callable[[str], None]) -> Draining | None:
    """The endpoint picker, where one is wanted; imported then, since it needs gRPC.

    Raises:
        InvalidInput, Unavailable: as `Picker.start`.
    """
    if gateway.config.picker.listen is None:
        return None
    try:
        from adapterworks.gateway.picker.service import Picker
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"`[picker]` needs `{error.name}`, which this installation does not have",
            hint=install("envoy"),
        ) from error
    picker = Picker(gateway, gateway.config.picker.listen)
    await picker.start()
    say(f"the picker listens on port {picker.port}")
    return Draining(gateway, "picker", picker)


async def run_registry(
    desk: Desk, *, host: str, port: int, on_ready: Callable[[str], None]
) -> None:
    """Serve a registry without engines until a signal.

    Raises:
        Unavailable: the port is taken.
    """
    with bind(host, port) as listener:
        config = uvicorn_config(create_registry_app(desk), http=desk.http, host=host, port=port)
        server = Server(config, on_exit=lambda: None, signals=True, linger=desk.http.linger_seconds)
        shown = f"[{host}]" if ":" in host else host
        on_ready(f"http://{shown}:{listener.getsockname()[1]}")
        await server.serve(sockets=[listener])


async def _serve(
    gateway: Gateway,
    servers: dict[uvicorn.Server, socket],
    on_ready: Callable[[], None],
    say: Callable[[str], None],
) -> None:
    """Serve until the first server ends; requests in flight are finished, also if cancelled."""
    tasks = [
        asyncio.create_task(server.serve(sockets=[listener]), name=f"server {number}")
        for number, (server, listener) in enumerate(servers.items())
    ]
    coming_up = asyncio.create_task(_all_ready(gateway, say), name="engines")
    try:
        await asyncio.wait({tasks[0], coming_up}, return_when=asyncio.FIRST_COMPLETED)
        if coming_up.done():
            coming_up.result()
            on_ready()
            await asyncio.wait({tasks[0]})
        await tasks[0]
    finally:
        gateway.draining = True
        for server in servers:
            server.should_exit = True
        coming_up.cancel()
        await asyncio.gather(*tasks, coming_up, return_exceptions=True)


def quieten_collector() -> None:
    """Let Python's cycle collector leave alone what lives as long as the gateway, and run rarely.

    Requests leave no cycles behind (tests/gateway/request/test_one_piece.py): most of its runs find
    nothing; a full one took 40 ms, in which every stream stood still.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def _all_ready(gateway: Gateway, say: Callable[[str], None]) -> None:
    """Wait until every local engine answers, and holds what it is to begin with, and those that run
    elsewhere were asked whether they do."""
    told = None
    for engine in gateway.pool.engines:
        if isinstance(engine, RemoteEngine):
            await engine.first_look()
        if isinstance(engine, LocalEngine):
            await engine.ready()
            while (reason := gateway.residency(engine).unsettled) is not None:
                if reason != told:
                    told = reason
                    say(f"engine {engine.id}: {reason}")
                await asyncio.sleep(SETTLE_SECONDS)


def uvicorn_config(
    app: ASGIApp, *, http: HttpTable, host: str = "127.0.0.1", port: int = 0
) -> uvicorn.Config:
    """How any application is served, with the limits of `[http]`."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=cast(Any, functools.partial(Connection, limits=http, resting={})),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(http.drain_seconds),
        limit_concurrency=http.max_connections,
        backlog=2048,
    )
