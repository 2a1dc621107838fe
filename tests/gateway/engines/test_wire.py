"""What is relayed passes over `wires.py`: bytes as a server writes them, whole or broken off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapterworks.gateway.engines.wire import Broken
from adapterworks.gateway.engines.wires import Unreachable, Wires
from tests.gateway.running import Loop

OK = b"HTTP/1.1 200 OK\r\n"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def engine(talk: Talk, **options: Any) -> AsyncIterator[Wires]:
    """A server that says what `talk` says, and connections to it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    values = {"seconds": 5.0, "connect_seconds": 5.0, "keep_seconds": 5.0, **options}
    wires = Wires(f"http://127.0.0.1:{port}/engines/one", **values)
    try:
        yield wires
    finally:
        wires.close()
        server.close()


async def request_of(reader: asyncio.StreamReader) -> tuple[list[bytes], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
    size = next(int(line[15:]) for line in head if line.startswith(b"content-length:"))
    return head, await reader.readexactly(size)


def saying(*pieces: bytes) -> Talk:
    """Answers every request with these bytes, one write each; then it closes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return talk


async def whole(wires: Wires) -> bytes:
    answer = await wires.post("/v1/x", b"{}", {})
    try:
        return await answer.read()
    finally:
        answer.leave()


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ((OK + b"content-length: 5\r\n\r\nhello",), b"hello"),
        ((OK + b"content-le", b"ngth: 5\r\n\r\nhe", b"llo"), b"hello"),
        (
            (OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n", b"3\r\nllo\r\n0\r\n\r\n"),
            b"hello",
        ),
        ((OK + b"\r\nhel", b"lo"), b"hello"),  # until it closes
        (
            (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK + b"content-length: 2\r\n\r\nhi",),
            b"hi",
        ),
    ],
)
def test_an_answer_is_read_as_it_comes(loop: Loop, pieces: tuple[bytes, ...], body: bytes) -> None:
    async def scene() -> None:
        async with engine(saying(*pieces)) as wires:
            assert await whole(wires) == body

    loop.run(scene())


@pytest.mark.parametrize(
    "pieces",
    [
        (OK + b"content-length: 6\r\n\r\nhello",),
        (OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",),
        (OK + b"content-length: 6\r\nx: y",),
        (b"SSH-2.0-OpenSSH\r\n",),
        (OK + b"x: " + b"y" * 70_000,),
        (),
    ],
)
def test_what_breaks_off_raises(loop: Loop, pieces: tuple[bytes, ...]) -> None:
    async def scene() -> None:
        async with engine(saying(*pieces)) as wires:
            with pytest.raises(Broken):
                await whole(wires)

    loop.run(scene())


def test_trailers_change_nothing_of_an_answer(loop: Loop) -> None:
    async def scene() -> None:
        head = OK + b"content-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n"
        end = b"2\r\nhi\r\n0\r\nx-late: yes\r\ncontent-type: text/html\r\n\r\n"
        async with engine(saying(head + end)) as wires:
            answer = await wires.post("/v1/x", b"{}", {})
            assert await answer.read() == b"hi"
            assert (answer.header("x-late"), answer.header("content-type")) == ("", "text/plain")
            answer.leave()
        async with engine(saying(head + b"2\r\nhi\r\n", b"0\r\nx: " + b"y" * 500_000)) as wires:
            with pytest.raises(Broken, match="does not end"):
                await whole(wires)

    loop.run(scene())


def test_what_came_before_the_end_is_given_first(loop: Loop) -> None:
    async def scene() -> None:
        head = OK + b"content-length: 9\r\n\r\n"
        async with engine(saying(head + b"hello")) as wires:
            answer = await wires.post("/v1/x", b"{}", {})
            await asyncio.sleep(0.1)  # the connection is closed by now
            assert await answer.some() == b"hello"
            with pytest.raises(Broken):
                await answer.some()

    loop.run(scene())


def test_one_connection_serves_one_after_the_other_and_says_who_asks(loop: Loop) -> None:
    heads: list[list[bytes]] = []
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            head, body = await request_of(reader)
            heads.append(head)
            writer.write(OK + b"content-length: %d\r\n\r\n" % len(body) + body)

    async def scene() -> None:
        async with engine(talk, key="k1", keep_seconds=0.5) as wires:
            for _ in range(3):
                assert await whole(wires) == b"{}"
            assert connections == 1
            answers = await asyncio.gather(*(whole(wires) for _ in range(3)))
            assert answers == [b"{}"] * 3
            assert connections == 3
            await asyncio.sleep(0.6)  # longer than it is kept
            assert await whole(wires) == b"{}"
            assert connections == 4
            with pytest.raises(ValueError, match="cannot be sent"):
                await wires.post("/v1/x", b"", {"x-request-id": "a\r\nhost: b"})

    loop.run(scene())
    assert heads[0][0] == b"POST /engines/one/v1/x HTTP/1.1"
    assert b"authorization: Bearer k1" in heads[0]


def test_what_nobody_asked_for_is_nobodys_answer(loop: Loop) -> None:
    one, other = (OK + b"content-length: 3\r\n\r\n" + body for body in (b"one", b"two"))

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request_of(reader)
            writer.write(one + other)

    async def scene() -> None:
        async with engine(talk) as wires:
            assert [await whole(wires) for _ in range(3)] == [b"one"] * 3

    loop.run(scene())


def test_an_answer_that_is_left_takes_its_connection_along(loop: Loop) -> None:
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(OK + b"content-length: 100\r\n\r\nbegun")
        try:
            await reader.read()
        finally:
            closed.set()

    async def scene() -> None:
        async with engine(talk) as wires:
            answer = await wires.post("/v1/x", b"{}", {})
            answer.leave()
            await asyncio.wait_for(closed.wait(), 5)

    loop.run(scene())


def test_silence_and_slowness_end(loop: Loop) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(OK + b"content-length: 5\r\n\r\n")
        await reader.read()

    async def scene() -> None:
        async with engine(talk, seconds=0.3) as wires:
            answer = await wires.post("/v1/x", b"{}", {})
            assert await answer.some(0.05) is None
            with pytest.raises(TimeoutError):
                await answer.read()
        dead = Wires("http://127.0.0.1:9", seconds=1.0, connect_seconds=1.0, keep_seconds=1.0)
        with pytest.raises(Unreachable):
            await dead.post("/v1/x", b"{}", {})

    loop.run(scene())


def test_what_nobody_reads_is_not_taken_in_without_end(loop: Loop) -> None:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await request_of(reader)
        writer.write(OK + b"content-length: %d\r\n\r\n" % (64 << 20))
        for _ in range(64):
            writer.write(bytes(1 << 20))
            await writer.drain()
            sent += 1

    async def scene() -> None:
        async with engine(talk) as wires:
            answer = await wires.post("/v1/x", b"{}", {})
            await asyncio.sleep(0.5)
            assert sent < 48
            assert len(await answer.read()) == 64 << 20

    loop.run(scene())
