"""What counts as being in an engine when it is decided where a request goes."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any, cast

from adapterworks.gateway.admission.fairness import FairQueue
from adapterworks.gateway.residency.sharing import Meeting
from adapterworks.gateway.residency.upkeep import Upkeep
from adapterworks.manifests.errors import Refused
from tests.gateway.residency.scripted import Scripted, release, settle


async def test_what_is_loading_loaded_or_loaded_by_others_is_there() -> None:
    engine = Scripted()
    residency = engine.residency()
    one = release("a")
    assert not residency.has_or_brings(one.digest)
    engine.gates["a"] = asyncio.Event()
    load = asyncio.create_task(residency.warm(one))
    await settle()
    assert residency.has_or_brings(one.digest)
    assert residency.awaited == 1
    engine.gates["a"].set()
    await load
    assert (residency.has_or_brings(one.digest), residency.awaited) == (True, 0)
    residency.lost([one.digest])
    assert not residency.has_or_brings(one.digest)
    residency.listed = frozenset({one.digest})
    assert residency.has_or_brings(one.digest)
    engine.faults["b"] = Refused("no")
    with contextlib.suppress(Refused):
        await residency.warm(release("b"))
    assert not residency.has_or_brings(release("b").digest)


async def test_a_shared_engine_is_asked_what_others_have_loaded() -> None:
    engine = Scripted()
    residency = engine.residency()

    async def models() -> list[dict[str, Any]]:
        return [{"id": "sha256:theirs"}]

    async def asked() -> frozenset[str]:
        await upkeep._compare_one(cast(Any, shared))
        return residency.listed

    shared = SimpleNamespace(id="engine", shared_as="s", health=engine.health, models=models)
    nothing, alone = cast(Any, None), cast(Any, _Alone())
    queues = {"engine": FairQueue(4)}
    upkeep = Upkeep(nothing, lambda: (), {"engine": residency}, queues, nothing, alone)
    assert await asked() == {"sha256:theirs"}
    shared.health = SimpleNamespace(state="down")
    assert await asked() == frozenset()


class _Alone:
    """The index, with nobody else in it."""

    def hold(self, engine: str, digests: list[str]) -> None: ...

    def meet(self, engine: str, served: dict[str, int]) -> Any:
        return Meeting(1, {})
