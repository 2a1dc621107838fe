"""SIGTERM: connections that clients keep are not closed under a request that is on its way."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from adapterworks.gateway.config.tables import GatewayConfig, HttpTable, PickerTable
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.http import server as module
from adapterworks.gateway.http.draining import Draining
from adapterworks.gateway.http.server import Server, run_gateway, uvicorn_config
from adapterworks.gateway.http.sockets import bind
from adapterworks.grading import BuildersGrading
from adapterworks.registry.registry import Registry


async def _hello(request: Request) -> Response:
    return PlainTextResponse("hello")


@contextlib.asynccontextmanager
async def serving(linger: float) -> AsyncIterator[tuple[Server, int, list[str]]]:
    told: list[str] = []
    app = Starlette(routes=[Route("/", _hello)])
    with bind("127.0.0.1", 0) as listener:
        server = Server(
            uvicorn_config(app, http=HttpTable()),
            on_exit=lambda: told.append("draining"),
            signals=False,
            linger=linger,
        )
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 (uvicorn has no event for it)
            await asyncio.sleep(0.01)
        try:
            yield server, listener.getsockname()[1], told
        finally:
            server.should_exit = True
            await asyncio.wait_for(task, 60)


class Client:
    """One connection that is kept."""

    @classmethod
    async def to(cls, port: int) -> Client:
        made = cls()
        made.reader, made.writer = await asyncio.open_connection("127.0.0.1", port)
        return made

    async def ask(self) -> bytes:
        """The answer's head."""
        self.writer.write(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 30)
        assert await self.reader.readexactly(5) == b"hello"
        return head.lower()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def test_what_comes_on_a_kept_connection_is_answered_and_is_its_last() -> None:
    async with serving(3600.0) as (server, port, told):
        kept = await Client.to(port)
        assert b"connection: close" not in await kept.ask()
        server.handle_exit(signal.SIGTERM, None)
        assert told == ["draining"]
        assert not await server.on_tick(1)  # somebody is there
        for client in (kept, await Client.to(port)):
            assert b"connection: close" in await client.ask()
            assert await client.reader.read() == b""
            await client.close()
        deadline = time.monotonic() + 30
        while not server.should_exit:  # nobody is there any more: it waits for none
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def test_a_connection_that_nobody_uses_keeps_it_no_longer_than_that() -> None:
    async with serving(0.0) as (server, port, _):
        kept = await Client.to(port)
        await kept.ask()
        server.handle_exit(signal.SIGTERM, None)
        assert await asyncio.wait_for(kept.reader.read(), 30) == b""
        await kept.close()


async def test_ctrl_c_and_a_second_signal_do_not_wait() -> None:
    for signals in ((signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM)):
        async with serving(3600.0) as (server, port, _):
            kept = await Client.to(port)
            await kept.ask()
            for number in signals:
                assert not server.should_exit
                server.handle_exit(number, None)
            assert server.should_exit
            await kept.close()


class Taking:
    """Takes requests beside the HTTP server; one that is under way ends when the test says so."""

    def __init__(self) -> None:
        self.graces: list[float] = []
        self.under_way = asyncio.Event()
        self.stopping = asyncio.Event()

    async def stop(self, grace: float) -> None:
        self.graces.append(grace)
        self.stopping.set()
        if grace:
            await asyncio.wait_for(self.under_way.wait(), grace)
        self.under_way.set()


async def test_what_is_under_way_behind_envoy_has_as_long_as_what_came_by_http(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all traffic by Envoy nobody is connected by HTTP, and that server ends at once."""
    config = GatewayConfig(
        open=True,
        port=0,
        http=HttpTable(drain_seconds=700.0, linger_seconds=0.05),
        picker=PickerTable(listen="127.0.0.1:0"),
    )
    spool = tmp_path / "spool"
    gateway = Gateway.compose(config, registry, [], spool=spool, grading=BuildersGrading())
    taking, servers, ready = Taking(), [], asyncio.Event()

    async def picker(gateway: Gateway, say: Callable[[str], None]) -> Draining:
        return Draining(gateway, "picker", taking)

    class Kept(Server):
        def __init__(self, *given: object, **more: object) -> None:
            super().__init__(*given, **more)  # type: ignore[arg-type]
            servers.append(self)

    monkeypatch.setattr(module, "_picker", picker)
    monkeypatch.setattr(module, "Server", Kept)
    running = asyncio.create_task(
        run_gateway(
            gateway,
            run=tmp_path / "run",
            say=lambda line: None,
            on_ready=lambda url: ready.set(),
            own_process=False,
        )
    )
    await asyncio.wait_for(ready.wait(), 60)
    servers[0].handle_exit(signal.SIGTERM, None)
    assert gateway.draining
    assert taking.graces == []  # for what is on its way
    await asyncio.wait_for(taking.stopping.wait(), 60)
    assert taking.graces == [700.0]
    deadline = time.monotonic() + 60
    while not servers[0].should_exit:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert not running.done()  # it still answers there
    taking.under_way.set()
    await asyncio.wait_for(running, 60)


async def test_whoever_does_not_wait_has_it_cut_off(registry: Registry, tmp_path: Path) -> None:
    config = GatewayConfig(open=True, http=HttpTable(drain_seconds=700.0))
    spool = tmp_path / "spool"
    gateway = Gateway.compose(config, registry, [], spool=spool, grading=BuildersGrading())
    taking = Taking()
    await asyncio.wait_for(Draining(gateway, "picker", taking).end(at_once=True), 5)
    assert taking.graces == [0.0]
    await gateway.stop()
