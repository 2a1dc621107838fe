"""What an engine's host says to whom, when it is asked to load a release."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from adapterworks.gateway.engine_plugin import last_used, releases
from adapterworks.gateway.engine_plugin.release_cache import NoRoom, ReleaseCache
from adapterworks.gateway.engine_plugin.releases import LOAD, UNLOAD, Releases, attach
from adapterworks.manifests.errors import IntegrityError, NotFound, Unavailable
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Servable
from tests.gateway.engine_plugin.test_release_cache import at
from tests.registry.releases import publish

KEY = "engine-key"


class Loras:
    """An engine's LoRAs, by name and folder."""

    def __init__(self) -> None:
        self.here: dict[str, str] = {}
        self.says: tuple[int, str] | None = None

    async def load(self, name: str, path: str) -> tuple[int, str]:
        if self.says is not None:
            return self.says
        if name in self.here:
            return 400, f"The lora adapter '{name}' has already been loaded."
        self.here[name] = path
        return 200, "Success"

    async def unload(self, name: str) -> None:
        self.here.pop(name, None)


class Host:
    """An engine's host as its gateways see it."""

    def __init__(self, cache: ReleaseCache, *keys: str) -> None:
        self.cache, self.loras = cache, Loras()
        app = Starlette()
        attach(app)
        app.state.adapterworks_releases = Releases(cache, self.loras, keys)
        self.client = TestClient(app)

    def ask(self, path: str, digest: Any, key: str | None = KEY) -> tuple[int, str]:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        answer = self.client.post(path, json={"digest": digest}, headers=headers)
        return answer.status_code, answer.text


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with at(tmp_path, "gateway") as opened:
        yield opened


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(ReleaseCache(lambda: at(tmp_path, "engine"), None), KEY)
    with made.client:
        yield made
    for digest in made.cache.held:
        made.cache.let_go(digest)
    made.cache.close()


def test_a_release_is_loaded_under_its_digest_from_the_hosts_own_folder(
    registry: Registry, tmp_path: Path, host: Host
) -> None:
    digest = publish(registry, tmp_path, 1).digest
    assert host.ask(LOAD, digest)[0] == 200
    folder = tmp_path / "engine" / "checkouts" / digest.removeprefix("sha256:") / "servable"
    assert host.loras.here == {digest: str(folder)}
    status, text = host.ask(LOAD, digest)  # as vLLM says it
    assert status == 400
    assert "already been loaded" in text
    assert host.cache.held == [digest]
    assert host.ask(UNLOAD, digest)[0] == 200
    assert host.ask(UNLOAD, digest)[0] == 200
    assert host.loras.here == {}
    assert host.cache.held == []


@pytest.mark.parametrize("key", [None, "", "other", "engine-ke", "engine-keyy", "schlüssel"])
def test_who_does_not_show_the_engines_key_is_told_nothing(
    key: str | None, registry: Registry, tmp_path: Path, host: Host
) -> None:
    digest = publish(registry, tmp_path, 1).digest
    headers = {} if key is None else {"authorization": f"Bearer {key}".encode()}
    for path in (LOAD, UNLOAD):
        answer = host.client.post(path, json={"digest": digest}, headers=headers)
        assert answer.status_code == 401
    assert host.loras.here == {}
    assert not (tmp_path / "engine").exists()


def test_an_engine_without_a_key_fetches_nothing(tmp_path: Path) -> None:
    open_to_all = Host(ReleaseCache(lambda: at(tmp_path, "engine"), None), "")
    for shown in (None, ""):
        assert open_to_all.ask(LOAD, "sha256:" + "a" * 64, shown)[0] == 401
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"digest": 1}', b"x" * 2000])
def test_a_body_that_names_no_digest_is_refused(body: bytes, host: Host) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    assert host.client.post(LOAD, content=body, headers=headers).status_code == 400


class Scripted(ReleaseCache):
    """Fetches as it is told."""

    def __init__(self, error: Exception) -> None:
        super().__init__(lambda: pytest.fail("nothing is opened"), None)
        self.error = error

    def fetch(self, digest: str) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("no such release"), 404),
        (IntegrityError("damaged"), 409),
        (NoRoom("full"), 507),
        (Unavailable("the registry is away"), 503),
        (RuntimeError("a defect at /srv/secret"), 500),
    ],
)
def test_what_went_wrong_has_a_status_and_a_defect_no_words(error: Exception, status: int) -> None:
    said, text = Host(Scripted(error), KEY).ask(LOAD, "sha256:" + "a" * 64)
    assert said == status
    assert "/srv" not in text


def test_what_the_engine_refuses_is_not_held(
    registry: Registry, tmp_path: Path, host: Host
) -> None:
    digest = publish(registry, tmp_path, 1).digest
    host.loras.says = (400, "LoRA rank 512 is greater than max_lora_rank 16")
    assert host.ask(LOAD, digest)[0] == 400
    assert host.cache.held == []


def test_a_load_again_that_fails_does_not_end_what_is_held(
    registry: Registry, tmp_path: Path, host: Host
) -> None:
    digest = publish(registry, tmp_path, 1).digest
    assert host.ask(LOAD, digest)[0] == 200
    host.loras.says = (500, "the worker is busy")
    assert host.ask(LOAD, digest)[0] == 500
    assert host.cache.held == [digest]


def test_virtual_tokens_are_found_where_the_engine_looks(
    registry: Registry, tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    servable = Servable(form="prefix", origin="native", virtual_tokens=4)
    digest = publish(registry, tmp_path, 1, servable=servable).digest
    monkeypatch.delenv("ADAPTERS_SERVABLES", raising=False)
    monkeypatch.setenv("ADAPTERS_HOME", str(tmp_path / "engine"))
    status, text = host.ask(LOAD, digest)  # these files have none
    assert (status, "no virtual tokens" in text) == (422, True)
    assert host.cache.held == []


async def test_one_fetch_for_all_who_ask_and_nobody_who_leaves_ends_it() -> None:
    begun, go_on, count = threading.Event(), threading.Event(), 0

    class Slow(ReleaseCache):
        def fetch(self, digest: str) -> Any:
            nonlocal count
            count += 1
            begun.set()
            assert go_on.wait(60)
            raise NotFound("no such release")

    host = Releases(Slow(lambda: pytest.fail("nothing is opened"), None), Loras(), [KEY])
    digest = "sha256:" + "a" * 64
    asked = [asyncio.create_task(host.load(digest)) for _ in range(3)]
    await asyncio.to_thread(begun.wait, 60)
    asked[0].cancel()
    await asyncio.wait(asked[:1])
    go_on.set()
    assert [(await one)[0] for one in asked[1:]] == [404, 404]
    assert count == 1


@pytest.mark.parametrize("again", [False, True], ids=["given up", "and asked for again"])
async def test_what_is_given_up_while_it_is_fetched_is_not_there_afterwards(
    again: bool, registry: Registry, tmp_path: Path
) -> None:
    """Its gateway does not count it: it must not take a place in the engine."""
    digest = publish(registry, tmp_path, 1).digest
    begun, go_on = threading.Event(), threading.Event()

    class Slow(ReleaseCache):
        def fetch(self, digest: str) -> Any:
            begun.set()
            assert go_on.wait(60)
            return super().fetch(digest)

    cache, loras = Slow(lambda: at(tmp_path, "engine"), None), Loras()
    host = Releases(cache, loras, [KEY])
    asked = [asyncio.create_task(host.load(digest))]
    await asyncio.to_thread(begun.wait, 60)
    assert await host.unload(digest) == (200, "")
    if again:
        asked.append(asyncio.create_task(host.load(digest)))
        await asyncio.sleep(0)
    go_on.set()
    assert [(await one)[0] for one in asked] == ([200, 200] if again else [503])
    assert list(loras.here) == cache.held == ([digest] if again else [])
    assert (await host.load(digest))[0] == (400 if again else 200)  # 400: it is there already
    assert list(loras.here) == cache.held == [digest]
    cache.let_go(digest)
    cache.close()


async def test_what_is_asked_for_while_it_is_unloaded_is_loaded_again(
    registry: Registry, tmp_path: Path
) -> None:
    digest = publish(registry, tmp_path, 1).digest
    cache, loaded, unloading, go_on = (
        ReleaseCache(lambda: at(tmp_path, "engine"), None),
        asyncio.Event(),
        asyncio.Event(),
        asyncio.Event(),
    )

    class Slow(Loras):
        async def load(self, name: str, path: str) -> tuple[int, str]:
            loaded.set()
            await go_on.wait()
            return await super().load(name, path)

        async def unload(self, name: str) -> None:
            unloading.set()
            go_on.clear()
            await go_on.wait()
            await super().unload(name)

    loras = Slow()
    host = Releases(cache, loras, [KEY])
    first = asyncio.create_task(host.load(digest))
    await loaded.wait()
    await host.unload(digest)
    go_on.set()
    await unloading.wait()
    second = asyncio.create_task(host.load(digest))
    await asyncio.sleep(0)
    go_on.set()
    assert [(await one)[0] for one in (first, second)] == [200, 200]
    assert list(loras.here) == cache.held == [digest]
    cache.let_go(digest)
    cache.close()


def test_what_nobody_has_asked_for_within_a_day_is_let_go_of(
    registry: Registry, tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (publish(registry, tmp_path, n).digest for n in (1, 2, 3))
    host.ask(LOAD, first)
    host.ask(LOAD, second)
    unused = {first: releases.IDLE_S + 1, second: releases.IDLE_S - 1, third: 0.0}
    monkeypatch.setattr(last_used, "unused", unused.__getitem__)
    host.ask(LOAD, third)
    assert set(host.cache.held) == set(host.loras.here) == {second, third}
