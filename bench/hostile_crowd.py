"""Clients and engine of `bench.hostile_requests`, in a process of their own.

What they keep of every request (bodies, the engine's counts) is so not taken for the gateway's
memory.
"""

from __future__ import annotations

import asyncio
import io
import logging
import multiprocessing
import threading
import traceback
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import aiohttp

from bench.hostile_bodies import Hostile, generate
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Loop, serve

CLIENTS = 16
Counts = tuple[int, int]


@dataclass
class Seen:
    """What clients and engine saw.

    Attributes:
        statuses: answers by HTTP status; 0 is a client that left.
        failed: path and the body's first 300 bytes of what got a 5xx, or a closed socket.
        counted: prompt and completion tokens of each request that the engine began, by its id.
        answered: those of them that it made to the end.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    failed: list[bytes] = field(default_factory=list)
    counted: dict[str, Counts] = field(default_factory=dict)
    answered: dict[str, Counts] = field(default_factory=dict)


class Crowd:
    """The process. `engine` is the stand-in's address.

    Args:
        model: the base's name at the stand-in.
        seed: of the bodies.
        requests: how many there are.
        names: models that they may name.
        apart: in a process; else in a thread, which starts at once, for those who do not measure.
    """

    def __init__(
        self, model: str, seed: int, requests: int, names: tuple[str, ...], *, apart: bool = True
    ) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share this one's memory
        self._pipe, theirs = context.Pipe()
        self._work: BaseProcess | threading.Thread
        work = (theirs, model, seed, requests, names)
        if apart:
            self._work = context.Process(target=_work, args=work, daemon=True)
        else:
            self._work = threading.Thread(target=_work, args=work, daemon=True)
        self._work.start()
        if apart:
            theirs.close()  # the process has its own; so its end is seen here
        self.engine = str(self._answer())

    def send(self, url: str, keys: list[str], count: int) -> None:
        """Send the next `count` bodies to a gateway, with these keys in turn."""
        self._pipe.send((url, keys, count))
        self._answer()

    def close(self) -> Seen:
        """End it; what it saw."""
        self._pipe.send(None)
        seen = self._answer()
        self._work.join()
        assert isinstance(seen, Seen)
        return seen

    def _answer(self) -> object:
        """What it says next.

        Raises:
            RuntimeError: it has failed; its trace.
        """
        said = self._pipe.recv()
        if isinstance(said, _Failed):
            raise RuntimeError(f"the clients have failed:\n{said.trace}")
        return said


@dataclass(frozen=True)
class _Failed:
    trace: str


def _work(pipe: Connection, model: str, seed: int, requests: int, names: tuple[str, ...]) -> None:
    try:
        _play(pipe, model, seed, requests, names)
    except Exception:
        pipe.send(_Failed(traceback.format_exc()))  # who waits for an answer would wait for ever


def _play(pipe: Connection, model: str, seed: int, requests: int, names: tuple[str, ...]) -> None:
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # of clients that left
    loop, standin = Loop(), StandIn(model, token_seconds=0.001)
    served = loop.run(serve(standin.app()))
    pipe.send(served.url)
    seen, left = Seen(), iter(enumerate(generate(seed, requests, names)))
    while (order := pipe.recv()) is not None:
        url, keys, count = order
        batch = [request for request, _ in zip(left, range(count), strict=False)]
        asyncio.run(_crowd(url, keys, batch, standin, seen))
        pipe.send(None)
    seen.counted, seen.answered = dict(standin.counted), dict(standin.answered)
    pipe.send(seen)
    loop.run(served.stop())
    loop.close()


async def _crowd(
    url: str, keys: list[str], batch: list[tuple[int, Hostile]], standin: StandIn, seen: Seen
) -> None:
    queue = iter(batch)
    async with aiohttp.ClientSession(url) as session:

        async def client() -> None:
            for number, request in queue:
                await _send(session, keys[number % len(keys)], request, seen)
                standin.bodies.clear()  # it would keep them all
                standin.headers.clear()

        await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def _send(session: aiohttp.ClientSession, key: str, request: Hostile, seen: Seen) -> None:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    try:
        async with session.post(
            request.path, data=io.BytesIO(request.body), headers=headers
        ) as answer:
            status = 0 if request.leave else answer.status
            if not request.leave:
                await answer.read()
    except aiohttp.ServerDisconnectedError:
        status = 599
    seen.statuses[status] += 1
    if status >= 500:
        seen.failed.append(request.path.encode() + b" " + request.body[:300])
