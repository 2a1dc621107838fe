"""Clients that take their time: dropped after the limits of `[http]`, at no one else's cost."""

from __future__ import annotations

import asyncio
import functools
import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from adapterworks.gateway.config.tables import GatewayConfig, HttpTable, TrustTable
from adapterworks.gateway.http.connection import Connection
from adapterworks.registry.bases.base import Base
from tests.gateway import raw
from tests.gateway.conftest import open_registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop, Running, serve

HEAD, BODY, IDLE = 0.4, 0.6, 0.8
LIMITS = HttpTable(header_seconds=HEAD, body_seconds=BODY, idle_seconds=IDLE, header_limit=4096)
# How late a timer may be on a busy machine; without the limits nothing here ends in this time.
LATE = 3.0
CHAT = "/v1/chat/completions"
HEALTH = raw.request("GET", "/health", close=False)


@pytest.fixture(scope="module")
def running(loop: Loop, base: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway with short limits on an engine that takes 50 ms a token."""
    launcher, home = Launcher(loop), Path(tmp_path_factory.mktemp("slow"))
    running = launcher.gateway(
        open_registry(home),
        [launcher.standin(base, StandIn(base.name, token_seconds=0.05))],
        home / "spool",
        GatewayConfig(open=True, trust=TrustTable(proof="off"), http=LIMITS),
    )
    running.wait_ready()
    yield running
    launcher.close()


def _chat(base: Base, tokens: int) -> bytes:
    message = {"role": "user", "content": "hello"}
    body = {"model": base.name, "messages": [message], "max_tokens": tokens}
    return raw.request("POST", CHAT, body=body, close=False)


def _head_drips() -> Iterator[bytes]:
    yield b"GET /health HTTP/1.1\r\n"
    while True:
        yield b"x: y\r\n"


def _nothing() -> Iterator[bytes]:
    while True:
        yield b""


def _blank_lines() -> Iterator[bytes]:
    while True:
        yield b"\r\n"


def _body_drips(target: str, method: str = "POST") -> Iterator[bytes]:
    yield f"{method} {target} HTTP/1.1\r\nhost: [::1]\r\ncontent-length: 100000\r\n\r\n".encode()
    while True:
        yield b" "


@pytest.mark.parametrize(
    ("pieces", "limit", "statuses"),
    [
        (_nothing, HEAD, []),
        (_head_drips, HEAD, [408]),
        (_blank_lines, HEAD, [408]),
        (lambda: _body_drips(CHAT), BODY, [408]),
        (lambda: _body_drips("/generate"), BODY, [408]),
        # Answered without the body: what is left of it is waited for no longer.
        (lambda: _body_drips("/health", "GET"), BODY, [200]),
        (lambda: _body_drips("/nowhere"), BODY, [404]),
    ],
    ids=["nothing", "head", "blank lines", "body", "generate", "answered", "refused"],
)
def test_what_drips_is_dropped(
    running: Running, pieces: Callable[[], Iterator[bytes]], limit: float, statuses: list[int]
) -> None:
    answers, seconds = raw.drip(running.url, pieces(), pause=0.05)
    assert limit - 0.1 <= seconds < limit + LATE
    assert [answer.status for answer in answers] == statuses
    if statuses == [408]:
        assert answers[0].headers["connection"] == "close"
        assert json.loads(answers[0].body)["error"]["code"] == "request_too_slow"
        assert answers[0].headers["x-request-id"]


@pytest.mark.parametrize("pieces", [_nothing, _blank_lines, _head_drips])
def test_a_used_connection_is_not_kept_either(
    running: Running, pieces: Callable[[], Iterator[bytes]]
) -> None:
    answers, seconds = raw.drip(running.url, pieces(), first=HEALTH, pause=0.05)
    assert HEAD - 0.1 <= seconds < IDLE + LATE
    assert answers[0].status == 200


def test_a_head_without_end_is_refused_before_its_time(running: Running) -> None:
    def flood() -> Iterator[bytes]:
        yield b"GET /health HTTP/1.1\r\nx: "
        while True:
            yield b"y" * 4096

    answers, seconds = raw.drip(running.url, flood(), pause=0.001)
    assert seconds < HEAD
    assert [answer.status for answer in answers] in ([431], [])  # [] if the reset came first


def test_an_answer_takes_as_long_as_it_takes(running: Running, base: Base) -> None:
    """Longer than every limit; the next request's head, which drips meanwhile, costs nothing."""
    took = 40 * 0.05
    assert took > 2 * max(HEAD, BODY, IDLE)
    answers, seconds = raw.drip(running.url, _head_drips(), first=_chat(base, 40), pause=0.05)
    assert answers[0].status == 200
    assert len(json.loads(answers[0].body)["choices"][0]["message"]["content"].split()) == 40
    assert took <= seconds < took + HEAD + LATE


def test_a_slow_request_within_the_limits_is_answered(running: Running, base: Base) -> None:
    data = _chat(base, 1)
    with socket.create_connection(("127.0.0.1", _port(running.url))) as connection:
        for _ in range(3):  # on one connection: each request has the whole time
            third = len(data) // 3
            for piece in (data[:third], data[third : 2 * third], data[2 * third :]):
                connection.sendall(piece)
                time.sleep(0.1)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")


def test_a_client_that_does_not_read_is_dropped(loop: Loop) -> None:
    ended: list[float] = []

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.create_task(_gone(receive))
        while not gone.done():
            body = b"x" * (1 << 16)
            await send({"type": "http.response.body", "body": body, "more_body": True})
            await asyncio.sleep(0)
        ended.append(time.monotonic())

    async def _gone(receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    protocol = cast(Any, functools.partial(Connection, limits=LIMITS))
    config = uvicorn.Config(endless, http=protocol, lifespan="off", log_config=None)
    served = loop.run(serve(endless, config))
    try:
        with socket.create_connection(("127.0.0.1", _port(served.url))) as connection:
            connection.sendall(HEALTH)
            began = time.monotonic()
            while not ended:
                assert time.monotonic() - began < IDLE + LATE
                time.sleep(0.02)
    finally:
        loop.run(served.stop())
    assert ended[0] - began > IDLE - 0.1


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])
