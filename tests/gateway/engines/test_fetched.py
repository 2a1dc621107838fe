"""A gateway and engines whose hosts share no folder with it: what is asked for comes by digest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import openai
import pytest
from safetensors.numpy import save_file
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount

from adapterworks.gateway.config.tables import GatewayConfig, HttpTable, TrustTable
from adapterworks.gateway.engine_plugin import servables
from adapterworks.gateway.engine_plugin.release_cache import ReleaseCache
from adapterworks.gateway.engine_plugin.releases import Releases, attach
from adapterworks.gateway.engines.remote import RemoteEngine
from adapterworks.gateway.http.app import create_registry_app
from adapterworks.gateway.http.routes.registry.desk import open_desk
from adapterworks.gateway.tokens.roles import Role
from adapterworks.registry.bases.base import Base
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Servable
from adapterworks.registry.remotes.http.registry import RemoteRegistry
from tests.gateway.adapters import registry_draft
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop, Running, Served, serve
from tests.registry.releases import publish

KEY = "engine-key"


class OfStandIn:
    """The stand-in's LoRAs, as its host's plugin has them."""

    def __init__(self, standin: StandIn) -> None:
        self._standin = standin

    async def load(self, name: str, path: str) -> tuple[int, str]:
        if self._standin.cannot_load is not None:
            return 400, self._standin.cannot_load
        if name in self._standin.loaded:
            return 400, "has already been loaded"
        self._standin.loaded[name] = path
        self._standin.loads.append(name)
        return 200, ""

    async def unload(self, name: str) -> None:
        self._standin.unloads.append(name)
        self._standin.loaded.pop(name, None)


class Front:
    """What our plugin does before vLLM takes a request: virtual tokens must be there."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = await Request(scope, receive).body()
        asked = json.loads(body) if body else {}
        if wanted := asked.get("kv_transfer_params"):
            try:
                servables.find(wanted["adapter_digest"])
            except ValueError as error:
                said = {"error": {"message": str(error), "param": servables.PARAMETER}}
                await JSONResponse(said, status_code=400)(scope, receive, send)
                return

        async def again() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, send)


@dataclass
class Scene:
    """A gateway, and one engine whose host knows the registry by its server and a token."""

    running: Running
    standin: StandIn
    cache: ReleaseCache
    home: Path
    sent: list[dict[str, Any]]

    def answers(self, model: str) -> None:
        """Ask once."""
        self.running.client().chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hello"}], max_tokens=2
        )

    def here(self) -> set[str]:
        """The releases on the engine's host."""
        return {f"sha256:{f.parent.name}" for f in self.home.glob("checkouts/*/servable")}


Set = Callable[..., Scene]


@pytest.fixture
def scene(
    launcher: Launcher, loop: Loop, registry: Registry, base: Base, tmp_path: Path
) -> Iterator[Set]:
    ends: list[Callable[[], object]] = []

    def stop(served: Served) -> None:
        ends.append(lambda: loop.run(served.stop()))

    def make(*, most: int | None = None, capacity: int = 4) -> Scene:
        desk = open_desk(registry, None, HttpTable())
        token = desk.tokens.create(Role.READER.word, Role.READER, who="tester").text
        offered = loop.run(serve(create_registry_app(desk)))
        stop(offered)
        home, sent, standin = tmp_path / "engine", [], StandIn(base.name)
        cache = ReleaseCache(lambda: RemoteRegistry(offered.url, token, home), most)
        app = Starlette()
        attach(app)
        app.routes.append(Mount("/", Front(standin.app())))
        app.state.adapterworks_releases = Releases(cache, OfStandIn(standin), [KEY])

        async def noted(scope: Any, receive: Any, send: Any) -> None:
            async def told() -> Any:
                event = await receive()
                if scope.get("path", "").startswith("/adapterworks/") and event.get("body"):
                    sent.append(json.loads(event["body"]))
                return event

            await app(scope, told, send)

        engine_served = loop.run(serve(noted))
        stop(engine_served)

        async def described() -> RemoteEngine:
            return RemoteEngine(
                "far", base_of(base), url=engine_served.url, slots=2, capacity=capacity,
                parallel=64, key=KEY, interval=0.1, request_seconds=60.0, fetches=True,
            )  # fmt: skip

        config = GatewayConfig(open=True, trust=TrustTable(proof="off"))
        engine = loop.run(described())
        running = launcher.gateway(registry, [engine], tmp_path / "spool", config)
        running.wait_ready()

        def close() -> None:
            for digest in cache.held:
                cache.let_go(digest)
            cache.close()

        ends.append(close)
        return Scene(running, standin, cache, home, sent)

    yield make
    for end in reversed(ends):
        end()


def base_of(base: Base) -> Any:
    from adapterworks.gateway.engines.target import ServedBase

    return ServedBase(base.name, base.name, base.digest)


def test_the_host_fetches_what_is_asked_for_and_no_path_is_sent(
    scene: Set, registry: Registry, base: Base, tmp_path: Path
) -> None:
    digest = publish(registry, tmp_path, 1, alias="prod", base=base.identity).digest
    one = scene()
    one.answers("medical")
    assert one.standin.loads == [digest]
    assert Path(one.standin.loaded[digest]).is_relative_to(one.home)
    assert one.here() == {digest}
    assert one.sent == [{"digest": digest}]
    assert not list((tmp_path / "registry" / "checkouts").glob("*/servable"))  # none was made here
    assert one.standin.bodies[-1]["model"] == digest


def test_what_the_gateway_unloads_makes_room(
    scene: Set, registry: Registry, base: Base, tmp_path: Path
) -> None:
    digests = [
        publish(registry, tmp_path, number, name=name, alias="prod", base=base.identity).digest
        for number, name in enumerate(("medical", "code"), 1)
    ]
    size = sum(
        entry.size
        for path, entry in registry.release(digests[0]).files.items()
        if path.startswith("servable/")
    )
    one = scene(most=size + size // 2, capacity=1)
    one.answers("medical")
    one.answers("code")
    assert one.standin.unloads == [digests[0]]
    assert one.here() == {digests[1]}
    assert one.cache.held == [digests[1]]


def test_a_host_without_room_is_no_fault_of_the_adapter_and_says_nothing_of_itself(
    scene: Set, registry: Registry, base: Base, tmp_path: Path
) -> None:
    publish(registry, tmp_path, 1, alias="prod", base=base.identity)
    one = scene(most=10)
    with pytest.raises(openai.APIStatusError) as refused:
        one.answers("medical")
    assert refused.value.status_code == 503
    assert "has no room" in refused.value.message
    assert str(tmp_path) not in refused.value.response.text
    assert "ADAPTERS_CHECKOUTS" not in refused.value.response.text


def test_virtual_tokens_that_the_host_lost_are_fetched_again(
    scene: Set,
    registry: Registry,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "prefix"
    (folder / "servable").mkdir(parents=True)
    tokens = {"layers.0.key": np.zeros((3, 1, 2), dtype=np.float32)}
    save_file(tokens, folder / "servable" / "prefix.safetensors")
    servable = Servable(form="prefix", origin="native", virtual_tokens=3)
    draft = registry_draft("medical", base, 8, servable=servable)
    digest = registry.publish(folder, draft, alias="prod", who="tester").digest
    monkeypatch.delenv("ADAPTERS_SERVABLES", raising=False)
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path / "engine"))
    one = scene()
    one.answers("medical")
    assert one.standin.bodies[-1]["kv_transfer_params"] == {"adapter_digest": digest}
    one.cache.let_go(digest)
    shutil.rmtree(one.home / "checkouts")
    one.answers("medical")
    assert one.here() == {digest}
    assert [body["digest"] for body in one.sent] == [digest, digest]


def test_what_the_host_lost_is_fetched_again(
    scene: Set, registry: Registry, base: Base, tmp_path: Path
) -> None:
    digest = publish(registry, tmp_path, 1, alias="prod", base=base.identity).digest
    one = scene()
    one.answers("medical")
    # A new process on an empty disk, that came up before anybody missed it.
    cast(Any, one.standin.loaded).clear()
    one.cache.let_go(digest)
    shutil.rmtree(one.home / "checkouts")
    one.answers("medical")
    assert one.standin.loads == [digest, digest]
    assert one.here() == {digest}
