"""Gateways and engines in a background event loop, so that tests can use ordinary clients."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import openai
import uvicorn

from adapterworks.gateway.config.tables import GatewayConfig
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.remote import RemoteEngine
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.http.app import create_app
from adapterworks.gateway.http.server import uvicorn_config
from adapterworks.gateway.http.sockets import bind
from adapterworks.gateway.jobs.service import start_jobs
from adapterworks.gateway.webhooks.sending import start_webhooks
from adapterworks.grading import BuildersGrading
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn

T = TypeVar("T")


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], timeout: float = 600.0) -> T:
        """Run a coroutine there and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def close(self) -> None:
        """End the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class Served:
    """An ASGI application on a loopback port."""

    url: str
    server: uvicorn.Server
    task: asyncio.Task[None]

    async def stop(self) -> None:
        """End it, dropping what is in flight."""
        self.server.should_exit = self.server.force_exit = True
        await self.task


async def serve(app: Any, config: uvicorn.Config | None = None) -> Served:
    """Serve an application on a free port."""
    listener = bind("127.0.0.1", 0)
    plain = uvicorn.Config(app, http="httptools", lifespan="off", log_config=None, access_log=False)
    server = _Server(config or plain)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.01)
    return Served(f"http://127.0.0.1:{listener.getsockname()[1]}", server, task)


@contextlib.asynccontextmanager
async def remote_engine(app: Any, *, request_seconds: float = 5.0) -> AsyncIterator[RemoteEngine]:
    """A ready engine of base `base` that is an application on a loopback port."""
    served = await serve(app)
    engine = RemoteEngine(
        "one",
        ServedBase("base", "base", "sha256:" + "b" * 64),
        url=served.url,
        slots=1,
        capacity=1,
        parallel=1,
        key=None,
        interval=60.0,
        request_seconds=request_seconds,
    )
    try:
        await engine.start()
        while engine.health.state != "ready":  # noqa: ASYNC110 (it has no event for us)
            await asyncio.sleep(0.01)
        yield engine
    finally:
        await engine.stop()
        await served.stop()


@dataclass
class Running:
    """A gateway that answers on a loopback port."""

    gateway: Gateway
    url: str
    loop: Loop
    clients: list[openai.OpenAI] = field(default_factory=list)

    def client(self, key: str = "none", **options: Any) -> openai.OpenAI:
        """The unmodified OpenAI client; it does not retry."""
        options = {"max_retries": 0, **options}
        client = openai.OpenAI(base_url=self.url + "/v1", api_key=key, **options)
        self.clients.append(client)  # kept: a socket that the collector closes is a warning
        return client

    def wait_ready(self, seconds: float = 600.0) -> None:
        """Wait until `/ready` says yes."""
        deadline = time.monotonic() + seconds
        while httpx.get(self.url + "/ready").status_code != 200:
            assert time.monotonic() < deadline, httpx.get(self.url + "/ready").text
            time.sleep(0.05)

    def wait_for_engines(self, seconds: float = 600.0) -> None:
        """Wait until each of its engines is ready; `/ready` asks for one of each base."""
        deadline = time.monotonic() + seconds
        while any(engine.health.state != "ready" for engine in self.gateway.pool.engines):
            assert time.monotonic() < deadline, httpx.get(self.url + "/ready").text
            time.sleep(0.05)

    def http(self, key: str | None = None) -> httpx.Client:
        """A plain HTTP client."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60.0)


Start = Callable[..., Running]
"""Starts a gateway with tables of its configuration, and `slots` and `capacity` of its engine."""


class Launcher:
    """Starts gateways in the loop and ends them all."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._stack: list[Coroutine[Any, Any, None]] = []
        self._started: list[Running] = []

    def gateway(
        self,
        registry: Registry,
        engines: list[Engine],
        spool: Path,
        config: GatewayConfig | None = None,
        *,
        start_engines: bool = True,
        keys: Path | None = None,
    ) -> Running:
        """Start a gateway on a free port; open unless the configuration says otherwise."""

        async def start() -> Running:
            settings = config or GatewayConfig(open=True)
            grading = BuildersGrading()
            gateway = Gateway.compose(
                settings, registry, engines, spool=spool, grading=grading, keys=keys
            )
            await gateway.start(engines=start_engines)
            start_jobs(gateway)
            start_webhooks(gateway)
            app = create_app(gateway)
            served = await serve(app, uvicorn_config(app, http=gateway.config.http))
            self._stack += [gateway.stop(engines=start_engines), served.stop()]
            running = Running(gateway, served.url, self._loop)
            self._started.append(running)
            return running

        return self._loop.run(start())

    def standin(self, base: Base | ServedBase, standin: StandIn, **options: Any) -> Engine:
        """Start a stand-in engine and describe it as a remote one."""

        async def start() -> str:
            served = await serve(standin.app())
            self._stack.append(served.stop())
            return served.url

        url = self._loop.run(start())
        return self.remote(ServedBase(base.name, standin.base, base.digest), url, **options)

    def remote(self, base: ServedBase, url: str, **options: Any) -> Engine:
        """Describe an engine that runs elsewhere."""

        async def make() -> Engine:
            values = {"slots": 2, "capacity": 4, "parallel": 64, **options}
            return RemoteEngine(
                values.pop("id", "standin"),
                base,
                url=url,
                key=None,
                interval=0.1,
                request_seconds=60.0,
                **values,
            )

        return self._loop.run(make())

    def beside(self, engine: Engine, **options: Any) -> Engine:
        """The same engine, as another gateway has it."""
        assert isinstance(engine, RemoteEngine)
        values = {"slots": 2, "capacity": 4, "parallel": 64, **options}

        async def make() -> Engine:
            return RemoteEngine(
                engine.id,
                engine.base,
                url=engine.url,
                key=None,
                interval=0.1,
                request_seconds=60.0,
                **values,
            )

        return self._loop.run(make())

    def close(self) -> None:
        """End everything started here, last first, and the clients that were asked for."""
        for running in self._started:
            for client in running.clients:
                client.close()
        while self._stack:
            self._loop.run(self._stack.pop())
