"""Engines join and leave: what changes the gateway's pool, and what does not."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from adapterworks.gateway.config.tables import GatewayConfig, ResidencyTable, TrustTable
from adapterworks.gateway.discovery.file import FileFinder
from adapterworks.gateway.discovery.finder import NotTold
from adapterworks.gateway.discovery.follow import Follower
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.engines.identity import ask_base
from adapterworks.gateway.engines.target import ServedBase
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from tests.gateway.adapters import Made, publish
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Running, serve

BASE = ServedBase("tiny", "tiny", "sha256:" + "b" * 64)


class One:
    """An engine as far as a follower looks."""

    def __init__(self, url: str) -> None:
        self.id, self.base, self.replaced = url.rstrip("/"), BASE, False


class Scene:
    """A finder, a maker and a fleet that do as they are told."""

    def __init__(self) -> None:
        self.says: frozenset[str] | None = frozenset()
        self.silent: set[str] = set()
        self.here: list[str] = []
        self.done = asyncio.Event()
        self.follower = Follower(
            "file:engines.toml",
            self,
            self.make,
            join=self.join,
            leave=self.leave,
            has=self.has,
            seconds=60.0,
        )
        self.others: set[str] = set()
        self.made: list[One] = []

    async def urls(self) -> frozenset[str]:
        if self.says is None:
            raise NotTold("nobody answers")
        return self.says

    async def close(self) -> None: ...

    async def make(self, url: str) -> Engine:
        if url in self.silent:
            raise Unavailable("does not say which base it serves")
        self.made.append(One(url))
        return cast(Engine, self.made[-1])

    def has(self, id: str) -> bool:
        return id in self.others or id in self.here

    async def join(self, engine: Engine) -> None:
        self.here.append(engine.id)

    async def leave(self, engine: Engine) -> None:
        self.here.remove(engine.id)
        await self.done.wait()

    async def look(self, *urls: str) -> list[str]:
        self.says = frozenset(urls)
        await self.follower.look()
        await asyncio.sleep(0)
        return sorted(self.here)


async def test_engines_join_once_and_leave() -> None:
    scene = Scene()
    assert await scene.look("a", "b") == ["a", "b"]
    assert await scene.look("a", "b") == ["a", "b"]
    assert await scene.look("b", "c") == ["b", "c"]


async def test_one_that_no_library_takes_keeps_nobody_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene()

    async def make(url: str) -> Engine:
        if url == "b":
            raise UnicodeError("label empty or too long")
        return await scene.make(url)

    monkeypatch.setattr(scene.follower, "_make", make)
    assert await scene.look("a", "b", "c") == ["a", "c"]
    assert "`b` is no address of an engine: label empty or too long" in caplog.text


async def test_a_name_that_dns_cannot_have_does_not_answer() -> None:
    for url in ("http://gpu..1:8000", f"http://{'g' * 64}:8000", "http://[fd00::1:8000"):
        with pytest.raises(Unavailable):
            await ask_base(url, None)


async def test_new_ones_are_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is being started says nothing for seconds: others join, and leave, meanwhile."""
    scene, all_asked = Scene(), asyncio.Event()
    asked: list[str] = []

    async def slow(url: str) -> Engine:
        asked.append(url)
        if len(asked) == 3:
            all_asked.set()
        await all_asked.wait()
        return await scene.make(url)

    monkeypatch.setattr(scene.follower, "_make", slow)
    scene.silent.add("b")
    async with asyncio.timeout(10):
        assert await scene.look("a", "b", "c") == ["a", "c"]
    assert asked == ["a", "b", "c"]


async def test_what_cannot_be_asked_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    await scene.look("a")
    scene.says = None
    for _ in range(3):
        await scene.follower.look()
    assert scene.here == ["a"]
    assert caplog.text.count("nobody answers") == 1


async def test_one_that_does_not_say_its_base_is_asked_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    scene.silent = {"a"}
    for _ in range(3):
        assert await scene.look("a", "b") == ["b"]
    assert caplog.text.count("does not say which base") == 1
    scene.silent = set()
    assert await scene.look("a", "b") == ["a", "b"]


async def test_one_that_comes_back_joins_when_it_has_finished() -> None:
    scene = Scene()
    await scene.look("a")
    assert await scene.look() == []
    assert await scene.look("a") == []  # what it was sent is not done yet
    scene.done.set()
    await asyncio.sleep(0)
    assert await scene.look("a") == ["a"]


async def test_one_that_is_in_the_gateway_is_not_joined_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Named in `[[engines]]` too, by another `discover`, or in two ways by this one."""
    scene = Scene()
    scene.others = {"a"}
    for _ in range(2):
        assert await scene.look("a", "b", "b/") == ["b"]
    assert caplog.text.count("engine a is in this gateway already") == 1
    scene.others = set()
    assert await scene.look("a", "b") == ["a", "b"]


async def test_one_that_serves_another_base_leaves_and_joins_as_that() -> None:
    scene = Scene()
    await scene.look("a", "b")
    scene.made[0].replaced = True
    assert await scene.look("a", "b") == ["b"]
    scene.done.set()
    await asyncio.sleep(0)
    assert await scene.look("a", "b") == ["a", "b"]
    assert [one.id for one in scene.made] == ["a", "b", "a"]


def _engine(base: dict[str, Any] | None, standin: StandIn | None = None) -> Any:
    def said(request: Any) -> Response:
        return JSONResponse(base or {"error": {"message": "?"}}, 200 if base else 404)

    rest = standin.app().routes if standin else []
    return Starlette(routes=[Route("/adapterworks/base", said), *rest])


SAID = {
    "name": "tiny", "model": "tiny", "digest": "sha256:" + "b" * 64, "quantization": "none",
    "template_digest": "sha256:" + "c" * 64, "exact": True,
}  # fmt: skip


async def test_an_engine_says_its_base_and_nothing_else_is_taken() -> None:
    served = await serve(_engine(SAID))
    try:
        assert await ask_base(served.url, None) == ServedBase(**SAID)  # type: ignore[arg-type]
    finally:
        await served.stop()
    with pytest.raises(Unavailable, match="does not answer"):
        await ask_base(served.url, None)
    for wrong in (
        None,
        SAID | {"digest": "b" * 64},
        SAID | {"exact": "yes"},
        SAID | {"name": "../x"},
    ):
        served = await serve(_engine(wrong))
        try:
            with pytest.raises(Unavailable, match=r"does not say|something unknown"):
                await ask_base(served.url, None)
        finally:
            await served.stop()


async def test_what_an_engine_says_may_come_in_pieces() -> None:
    """A proxy in between passes on what it has; a read gives what is there."""
    data = json.dumps(SAID).encode()

    async def pieces() -> AsyncIterator[bytes]:
        yield data[:40]
        await asyncio.sleep(0.05)
        yield data[40:]

    async def said(request: Any) -> Response:
        return StreamingResponse(pieces(), media_type="application/json")

    async def forever() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 4096
            await asyncio.sleep(0)

    async def endless(request: Any) -> Response:
        return StreamingResponse(forever(), media_type="application/json")

    served = await serve(Starlette(routes=[Route("/adapterworks/base", said)]))
    try:
        assert await ask_base(served.url, None) == ServedBase(**SAID)  # type: ignore[arg-type]
    finally:
        await served.stop()
    served = await serve(Starlette(routes=[Route("/adapterworks/base", endless)]))
    try:
        with pytest.raises(Unavailable, match="something unknown"):
            await ask_base(served.url, None)
    finally:
        await served.stop()


def test_engines_are_added_and_taken_out_under_load(
    launcher: Launcher, made: dict[str, Made], registry: Registry, base: Base, tmp_path: Path
) -> None:
    publish(registry, made["medical"], base, "medical")
    standins = [StandIn(base.name) for _ in range(2)]
    for standin in standins:
        standin.token_seconds = 0.02
    engines = {
        cast(Any, engine).url: engine
        for engine in (
            launcher.standin(base, standin, id=f"engine-{number}")
            for number, standin in enumerate(standins)
        )
    }
    listed = tmp_path / "engines.toml"
    listed.write_text("urls = []\n")
    running = launcher.gateway(
        registry, [], tmp_path / "spool", GatewayConfig(open=True, trust=TrustTable(proof="off"))
    )
    gateway = running.gateway
    assert "no engine is found yet" in httpx.get(running.url + "/ready").json()["reason"]

    async def make(url: str) -> Engine:
        return engines[url]

    gateway.follow("file:engines.toml", FileFinder(listed), make, seconds=60.0)
    follower = gateway.followers["file:engines.toml"]

    def look(*urls: str) -> None:
        listed.write_text(f"urls = {json.dumps(urls)}\n")
        running.loop.run(follower.look())

    first, second = engines
    look(first)
    running.wait_for_engines()
    client = running.client()
    stream = client.chat.completions.create(
        model="medical", messages=[{"role": "user", "content": "hello"}], max_tokens=50, stream=True
    )
    parts = iter(stream)
    next(parts)
    look(second)  # the one that is answering leaves
    assert [cast(Any, e).url for e in gateway.pool.engines] == [second]
    assert len(gateway.fleet.residencies) == 2
    assert len([part for part in parts if part.choices]) > 40  # to its end
    assert not standins[0].broken
    running.wait_for_engines()
    client.chat.completions.create(
        model="medical", messages=[{"role": "user", "content": "hello"}], max_tokens=1
    )
    assert standins[1].loads
    deadline = time.monotonic() + 60
    while len(gateway.fleet.residencies) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert engines[first].health.state == "stopped"


def test_a_request_whose_load_was_under_way_on_an_engine_that_leaves_is_answered_by_another(
    launcher: Launcher, made: dict[str, Made], registry: Registry, base: Base, tmp_path: Path
) -> None:
    release = publish(registry, made["medical"], base, "medical")
    standins = {f"engine-{number}": StandIn(base.name) for number in range(2)}
    engines = [launcher.standin(base, standin, id=id) for id, standin in standins.items()]
    config = GatewayConfig(open=True, trust=TrustTable(proof="off"))
    running = launcher.gateway(registry, engines, tmp_path / "spool", config)
    running.wait_for_engines()
    gateway = running.gateway
    home = gateway.pool.home(base.digest, release.digest)
    assert home is not None
    standins[home.id].load_seconds = 600.0
    asked = threading.Thread(target=lambda: answers.append(_ask(running)))
    answers: list[str] = []
    asked.start()
    deadline = time.monotonic() + 60
    while not any(entry.stage == "loading" for entry in gateway.residency(home).entries):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.loop.run(gateway.fleet.leave(home))
    asked.join(60)
    standins[home.id].load_seconds = 0.0
    assert len(answers) == 1
    assert [bool(standin.bodies) for id, standin in standins.items()] == [
        id != home.id for id in standins
    ]


def _ask(running: Running) -> str:
    answer = running.client().chat.completions.create(
        model="medical", messages=[{"role": "user", "content": "hello"}], max_tokens=1
    )
    return answer.id


def test_an_engine_that_joins_and_still_loads_leaves_the_gateway_ready(
    launcher: Launcher, made: dict[str, Made], registry: Registry, base: Base, tmp_path: Path
) -> None:
    """All gateways see it join at once: each would say that it is not ready, and all be left."""
    publish(registry, made["medical"], base, "medical")
    slow = StandIn(base.name)
    slow.load_seconds = 600.0
    engine = launcher.standin(base, StandIn(base.name), id="engine-0")
    late = launcher.standin(base, slow, id="engine-1")
    config = GatewayConfig(
        open=True, trust=TrustTable(proof="off"), residency=ResidencyTable(pins=("medical",))
    )
    running = launcher.gateway(registry, [engine], tmp_path / "spool", config)
    running.wait_ready()
    gateway = running.gateway
    running.loop.run(gateway.fleet.join(late))
    gateway._upkeep.moved()
    running.wait_for_engines()
    deadline = time.monotonic() + 60
    while not gateway.residency(late).entries:
        assert gateway.ready == (True, "")
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert "being loaded" in str(gateway.residency(late).unsettled)
    assert gateway.ready == (True, "")
    running.loop.run(gateway.fleet.leave(engine))  # now nobody is as it is to begin
    assert gateway.ready == (False, "adapters are being loaded: 0 of 1")
    slow.load_seconds = 0.0
    running.wait_ready()
