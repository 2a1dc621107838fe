"""Who unloads an adapter from a shared engine is waited for by who would load it there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapterworks.gateway.config.tables import TrustTable
from adapterworks.gateway.engines.engine import Engine
from adapterworks.gateway.residency import loading, sharing
from adapterworks.gateway.residency.loading import Loader
from adapterworks.gateway.residency.sharing import Sharing
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.index.database import Database
from adapterworks.registry.registry import Registry
from tests.registry.releases import BASE, publish


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    migrate(opened)
    yield opened
    opened.close()


def test_what_is_being_unloaded_is_not_to_be_loaded_yet(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Sharing(database, "one"), Sharing(database, "other")
    assert one.hold("engine", ["sha256:a", "sha256:b"])
    assert one.let_go("engine", "sha256:a")
    assert not other.hold("engine", ["sha256:a"])
    assert other.hold("engine", ["sha256:b"])
    assert other.hold("another engine", ["sha256:a"])
    assert one.hold("engine", ["sha256:a"])  # one's own unload is waited for elsewhere
    one.gone("engine", "sha256:a")
    assert other.hold("engine", ["sha256:a"])
    assert not one.let_go("engine", "sha256:a")

    assert other.let_go("engine", "sha256:a")  # whoever leaves holds nothing
    other.end()
    assert one.hold("engine", ["sha256:a"])
    assert one.let_go("engine", "sha256:a")  # and is killed now
    now = time.time()
    monkeypatch.setattr(sharing, "now_s", lambda _: now + sharing.HELD_SECONDS + 5)
    assert other.hold("engine", ["sha256:a"])


class _Form:
    """Says in which order things are done; an unload takes as long as the test wants."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.fails = False

    async def load(self, *given: object) -> None:
        self.done.append("loaded")

    async def unload(self, *given: object) -> None:
        self.begun.set()
        await self.go.wait()
        self.done.append("unloaded")
        if self.fails:
            raise Unavailable("the engine does not answer")


@pytest.mark.parametrize("fails", [False, True])
async def test_a_load_does_not_come_between_the_word_and_the_unload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Else it is told that the adapter is there already, and then it is gone."""
    registry = Registry.open(
        database=f"sqlite:///{tmp_path / 'index.db'}", blobs=str(tmp_path / "blobs"), home=tmp_path
    )
    migrate(registry.database)
    release = registry.release(publish(registry, tmp_path, 1, alias="prod").digest)
    form = _Form()
    form.fails = fails
    monkeypatch.setattr(loading, "FORMS", {"lora": form})
    base = SimpleNamespace(digest=BASE.digest, kind=None)
    options: dict[str, Any] = {"forms": {"lora"}, "shared_as": "engine", "fetcher": None}
    engine = cast(Engine, SimpleNamespace(id="e", base=base, **options))

    def gateway(name: str) -> Loader:
        trust = TrustTable(proof="off")
        return Loader(registry, trust, (), Sharing(registry.database, name))

    one, other = gateway("one"), gateway("other")
    await one.load(engine, release)
    leaves = asyncio.create_task(one.unload(engine, release))
    await form.begun.wait()
    waits, told = asyncio.Event(), list[str]()

    def tell(step: str) -> None:
        told.append(step)
        waits.set()

    comes = asyncio.create_task(other.load(engine, release, tell))
    await asyncio.wait_for(waits.wait(), 60)
    assert told == ["waiting until another gateway has unloaded it"]
    form.go.set()
    await asyncio.wait_for(asyncio.gather(leaves, comes, return_exceptions=fails), 60)
    assert form.done == ["loaded", "unloaded", "loaded"]
    registry.close()
