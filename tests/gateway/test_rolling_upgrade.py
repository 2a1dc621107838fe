"""Engines and gateways are replaced one after the other under fifty streams, and none is dropped.

Gateways are processes of their own, which find their engines in a file; who asks goes to a gateway
that is in service, as a balancer sends it, and keeps its connections.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from adapterworks.gateway.metering.usage import usage
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Served, serve
from tests.gateway.serving import Serving
from tests.postgres import new_database
from tests.registry.releases import publish

STREAMS, TOKENS = 50, 40
ENGINES, GATEWAYS = 3, 2
NAMES = ("a", "b", "c", "d")
LOOK_SECONDS = 0.2  # of the gateways, between two readings of the file
CONFIG = f"""
[[engines]]
discover = "file:engines.toml"
base = "smollm2-135m-instruct"
seconds = {LOOK_SECONDS}

[residency]
max_loras = 4
"""


@dataclass
class Replaced:
    """One engine that listens, and how it ends: as vLLM does, when what it has begun is done."""

    standin: StandIn
    served: Served

    async def end(self) -> None:
        self.served.server.should_exit = True
        await asyncio.wait_for(self.served.task, 60)


@dataclass
class Scene:
    """The file of engines, the gateways in service, and what the streams came to."""

    place: Path
    environment: dict[str, str]
    base: str
    engines: list[Replaced] = field(default_factory=list)
    gateways: list[Serving] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    done: int = 0

    async def add_engine(self) -> None:
        """Start one more and name it."""
        standin = StandIn(self.base, token_seconds=0.02)
        self.engines.append(Replaced(standin, await serve(standin.app())))
        self._name_engines()

    async def replace_engine(self) -> None:
        """The oldest is not named any more and ends when it has finished; then another joins."""
        old = self.engines.pop(0)
        self._name_engines()
        await asyncio.sleep(3 * LOOK_SECONDS)  # as a preStop hook waits
        await old.end()
        await self.add_engine()
        await until(lambda: bool(self.engines[-1].standin.bodies), "the new engine is asked")

    async def add_gateway(self) -> None:
        """Start one more; it is in service when it says that it is ready."""
        number = len(list(self.place.glob("home-*")))
        home = self.place / f"home-{number}"
        home.mkdir()
        made = await asyncio.to_thread(
            Serving, home, [], "--open", "--config", str(self.place / "gateway.toml"),
            environment=self.environment,
        )  # fmt: skip
        await asyncio.to_thread(made.wait_ready)
        self.gateways.append(made)

    async def replace_gateway(self) -> None:
        """Another is taken into service, the oldest out of it, and is then told to end."""
        await self.add_gateway()
        old = self.gateways.pop(0)
        old.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(old.process.wait, 60) == 0, old.told()
        old.end()

    def _name_engines(self) -> None:
        urls = [engine.served.url for engine in self.engines]
        named = self.place / "engines.new"
        named.write_text(f"urls = {json.dumps(urls)}\n")
        named.rename(self.place / "engines.toml")


async def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


async def ask_on(scene: Scene, number: int, client: httpx.AsyncClient, over: asyncio.Event) -> None:
    """One stream after the other."""
    body = {
        "model": NAMES[number % len(NAMES)],
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": TOKENS,
        "stream": True,
    }
    while not over.is_set():
        url = scene.gateways[number % len(scene.gateways)].url + "/v1/chat/completions"
        try:
            async with client.stream("POST", url, json=body) as answer:
                if answer.status_code != 200:
                    text = (await answer.aread()).decode()
                    scene.dropped.append(f"{answer.status_code} {text}")
                    continue
                digest = answer.headers["x-adapter-digest"]
                said = [line async for line in _events(answer)]
        except httpx.HTTPError as error:
            scene.dropped.append(f"{type(error).__name__} {error}")
            continue
        words = [
            choice["delta"]["content"]
            for event in said[:-1]
            for choice in json.loads(event)["choices"]
            if choice["delta"].get("content")
        ]
        if said[-1] != "[DONE]" or len(words) != TOKENS:
            scene.dropped.append(f"{len(words)} of {TOKENS}: {said[-1]}")
        elif words != [f"{digest[-8:]}-{count} " for count in range(TOKENS)]:
            scene.wrong.append(f"{digest}: {words[0]}")
        scene.done += 1


async def _events(answer: httpx.Response) -> AsyncIterator[str]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield line.removeprefix("data: ")


@pytest.mark.slow
async def test_a_fleet_is_replaced_under_fifty_streams(
    base: Base, postgres_server: str, tmp_path: Path
) -> None:
    url = new_database(postgres_server).replace("postgresql://", "postgresql+psycopg://", 1)
    blobs = str(tmp_path / "blobs")
    with Registry.open(database=url, blobs=blobs, home=tmp_path / "h") as registry:
        for number, name in enumerate(NAMES, 1):
            publish(registry, tmp_path, number, name=name, alias="prod", base=base.identity)
        (tmp_path / "gateway.toml").write_text(CONFIG)
        scene = Scene(tmp_path, {"ADAPTERS_DATABASE": url, "ADAPTERS_BLOBS": blobs}, base.name)
        try:
            await _replace_everything(scene)
        finally:
            for gateway in scene.gateways:
                gateway.end()
            for engine in scene.engines:
                await engine.served.stop()
        assert scene.dropped == []
        assert scene.wrong == []
        rows = usage(registry.database, by=("release",))
        # Those whose gateway was killed at the end of the test had been answered before.
        assert sum(row.completion_tokens for row in rows) == scene.done * TOKENS
        assert scene.done > 3 * STREAMS


async def _replace_everything(scene: Scene) -> None:
    for _ in range(ENGINES):
        await scene.add_engine()
    for _ in range(GATEWAYS):
        await scene.add_gateway()
    over = asyncio.Event()
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(timeout=60.0, limits=limits) as client,
        asyncio.TaskGroup() as streams,
    ):
        for number in range(STREAMS):
            streams.create_task(ask_on(scene, number, client, over))
        try:
            await until(lambda: scene.done >= STREAMS, "each has been answered once")
            for _ in range(ENGINES):
                await scene.replace_engine()
            for _ in range(GATEWAYS):
                await scene.replace_gateway()
            after = scene.done
            await until(lambda: scene.done >= after + STREAMS, "all go on")
        finally:
            over.set()
    for gateway in scene.gateways:  # ended as they are asked to, so that all usage is handed over
        gateway.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(gateway.process.wait, 60) == 0
