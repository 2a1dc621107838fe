"""A promotion under traffic: the old release answers until the new one can."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from adapterworks.gateway.residency.handover import Handover
from adapterworks.gateway.residency.residency import Residency
from adapterworks.gateway.residency.verdict import ProofFailed
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.manifests.errors import NotFound, Unavailable
from adapterworks.registry.releases.release import Release
from adapterworks.registry.releases.types import Weighted
from tests.gateway.residency.scripted import Scripted, release, settle
from tests.registry.releases import BASE

OLD, NEW, NEWER = release("old"), release("new"), release("newer")
RELEASES = {r.digest: r for r in (OLD, NEW, NEWER)}


def holder(of: Release) -> tuple[Weighted, ...]:
    return (Weighted(1, of.digest, 100),)


class Moved:
    """An engine that answers for the old release, and the handover in front of it."""

    def __init__(self) -> None:
        self.engine = Scripted()
        self.engine.base = SimpleNamespace(digest=BASE.digest)  # type: ignore[attr-defined]
        self.residency: Residency = self.engine.residency()
        self.counts = 0

        async def read(digest: str) -> Release:
            if digest not in RELEASES:
                raise NotFound("deleted")
            return RELEASES[digest]

        supervisor = Supervisor()
        once, self.tasks = supervisor.once, list[asyncio.Task[None]]()

        def remembered(*arguments: Any, **options: Any) -> asyncio.Task[None]:
            self.tasks.append(once(*arguments, **options))
            return self.tasks[-1]

        supervisor.once = remembered  # type: ignore[method-assign]
        self.other = Scripted().residency()
        self.places = [self.residency, self.other]
        self.handover = Handover(
            lambda: [self.residency, self.other], lambda release: self.places, read, supervisor
        )

    def done(self) -> None:
        self.counts += 1

    async def move(self, before: Release = OLD, now: Release = NEW) -> bool:
        return await self.handover.begun("m", holder(before), holder(now), self.done)


async def test_the_new_release_is_loaded_beside_the_old_one_and_counts_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    moved = Moved()
    await moved.residency.warm(OLD)
    moved.engine.gates["new"] = asyncio.Event()
    assert await moved.move()
    assert await moved.move()  # whoever asks meanwhile gets the old one too
    await settle()
    assert moved.counts == 0
    assert moved.residency.holds(OLD.digest)
    moved.engine.gates["new"].set()
    await settle()
    assert moved.counts == 1
    assert moved.residency.holds(NEW.digest)
    assert moved.engine.log.count("+new") == 1
    assert len(moved.tasks) == 1
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert not await moved.move()


async def test_it_is_loaded_where_its_requests_will_go() -> None:
    """Each release has its own first engine: beside the old one it would be loaded for nobody."""
    moved = Moved()
    await moved.residency.warm(OLD)
    moved.places.reverse()
    assert await moved.move()
    await settle()
    assert moved.counts == 1
    assert moved.other.holds(NEW.digest)
    assert not moved.residency.holds(NEW.digest)


async def test_it_is_loaded_in_as_many_engines_as_the_old_one() -> None:
    moved = Moved()
    await moved.residency.warm(OLD)
    await moved.other.warm(OLD)
    assert await moved.move()
    await settle()
    assert moved.residency.holds(NEW.digest)
    assert moved.other.holds(NEW.digest)


async def test_where_the_old_one_answers_nowhere_nothing_is_waited_for() -> None:
    moved = Moved()
    assert not await moved.move()
    assert moved.engine.log == []


async def test_one_that_is_refused_counts_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """What an alias stands for is not for a gateway to decide; it says what is wrong."""
    moved = Moved()
    await moved.residency.warm(OLD)
    moved.engine.faults["new"] = ProofFailed("not what was built", hint="")
    assert await moved.move()
    await settle()
    assert moved.counts == 1
    assert "the new release of `m`: not what was built" in caplog.text


async def test_one_that_cannot_be_loaded_for_now_is_tried_again_while_the_old_one_answers() -> None:
    moved = Moved()
    await moved.residency.warm(OLD)
    moved.engine.faults["new"] = Unavailable("busy", retry_after=0.05)
    assert await moved.move()
    await settle()
    assert moved.counts == 0
    assert moved.residency.holds(OLD.digest)
    await asyncio.sleep(0.1)
    assert moved.counts == 1
    assert moved.residency.holds(NEW.digest)


async def test_where_the_old_one_is_gone_the_new_one_counts_though_it_cannot_be_loaded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    moved = Moved()
    await moved.residency.warm(OLD)
    moved.engine.gates["new"] = asyncio.Event()
    moved.engine.faults["new"] = Unavailable("away")
    assert await moved.move()
    await settle()
    moved.residency.lost([OLD.digest])
    moved.engine.gates["new"].set()
    await settle()
    assert moved.counts == 1
    assert "the new release of `m`: away" in caplog.text


async def test_an_alias_that_is_moved_once_more_is_handed_to_the_last() -> None:
    moved = Moved()
    await moved.residency.warm(OLD)
    moved.engine.gates["new"] = moved.engine.gates["newer"] = asyncio.Event()
    assert await moved.move()
    await settle()
    assert await moved.move(now=NEWER)
    await settle()
    assert [task.done() for task in moved.tasks] == [True, False]  # nobody waits for the first
    assert moved.counts == 0
    moved.engine.gates["new"].set()
    await settle()
    assert moved.counts == 1
    assert moved.residency.holds(NEWER.digest)


async def test_a_record_that_is_gone_holds_nothing_up() -> None:
    moved = Moved()
    await moved.residency.warm(OLD)
    assert not await moved.move(now=release("gone"))


async def test_an_engine_that_leaves_meanwhile_holds_nothing_up() -> None:
    moved = Moved()
    await moved.residency.warm(OLD)
    await moved.other.warm(OLD)
    moved.engine.gates["new"] = asyncio.Event()
    assert await moved.move()
    await settle()
    moved.residency.close()
    await settle()
    assert moved.counts == 1
    assert moved.other.holds(NEW.digest)
