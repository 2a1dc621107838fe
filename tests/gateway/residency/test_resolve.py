"""From a model's name to a release: read once, kept until the index changes, canaries by weight."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from adapterworks.gateway.engines.pool import EnginePool
from adapterworks.gateway.residency import resolve as module
from adapterworks.gateway.residency.resolve import Resolver, _choose, missing
from adapterworks.gateway.supervision.supervisor import Supervisor
from adapterworks.manifests.errors import IntegrityError, NotFound, Unavailable
from adapterworks.manifests.refs import Ref
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.types import Resolved, Weighted
from tests.gateway.residency.scripted import release, settle

ONE = Weighted(1, "sha256:1", 90)
TWO = Weighted(2, "sha256:2", 10)


def point(key: str) -> int:
    """The percentile of a key, as the docstring says it."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 100


def key_at(wanted: int) -> str:
    return next(key for key in map(str, range(10_000)) if point(key) == wanted)


@pytest.mark.parametrize(
    ("at", "version"), [(0, 1), (89, 1), (90, 2), (99, 2)], ids=lambda value: str(value)
)
def test_the_first_ninety_percentiles_are_the_holders(at: int, version: int) -> None:
    for holders in ((ONE, TWO), (TWO, ONE)):  # whatever their order
        assert _choose(holders, key_at(at)).version == version


def test_three_shares_and_one_that_is_alone() -> None:
    three = (Weighted(1, "a", 20), Weighted(2, "b", 30), Weighted(3, "c", 50))
    chosen = [_choose(three, key_at(at)).version for at in (19, 20, 49, 50, 99)]
    assert chosen == [1, 2, 2, 3, 3]
    assert _choose((TWO,), key_at(0)) is TWO


class Index:
    """A registry of one name, whose alias the test moves."""

    def __init__(self) -> None:
        self.holders: dict[str, tuple[Weighted, ...]] = {"prod": (ONE,)}
        self.lookups = self.records = self.polls = 0
        self.number = 1
        self.before: Callable[[], None] = lambda: None
        self.broken: Exception | None = None
        self.faults: dict[str, Exception] = {}  # of records, by digest

    def weights(self, name: str, alias: str) -> tuple[Weighted, ...]:
        self.lookups += 1
        found = self.holders.get(alias)
        self.before()
        if name != "medical" or found is None:
            raise NotFound("no such alias")
        return found

    def resolve(self, ref: Ref) -> Resolved:
        self.lookups += 1
        if ref.name != "medical" or ref.version not in (1, 2):
            raise NotFound("no such version")
        return Resolved("medical", ref.version, f"sha256:{ref.version}", ref)

    def release(self, digest: str) -> Any:
        self.records += 1
        if digest in self.faults:
            raise self.faults[digest]
        return release("medical")

    def revision(self) -> int:
        self.polls += 1
        if self.broken is not None:
            error, self.broken = self.broken, None
            raise error
        return self.number


def resolver(index: Index, **bases: str) -> Resolver:
    served = {
        name: SimpleNamespace(name=name, digest=digest, model="m") for name, digest in bases.items()
    }
    pool = SimpleNamespace(bases=lambda: served)
    return Resolver(cast(Registry, index), cast(EnginePool, pool))


def watch(resolving: Resolver) -> asyncio.Task[None]:
    return Supervisor().task("revision watcher", resolving.watch)


async def test_a_name_is_looked_up_once_and_its_record_is_read_once() -> None:
    index = Index()
    resolving = resolver(index)
    for _ in range(3):
        target = await resolving.target("medical", "me")
        assert (target.ref, target.access) == ("medical", "medical")
        assert (target.digest, target.version, target.label) == ("sha256:1", 1, "medical@1")
    other = await resolving.target("medical@1", "me")
    assert (other.digest, other.version) == ("sha256:1", 1)
    assert (index.lookups, index.records) == (2, 1)


async def test_a_base_is_no_adapter() -> None:
    index = Index()
    target = await resolver(index, smol="sha256:b").target("smol", "me")
    assert (target.access, target.base_digest, target.release) == ("base:smol", "sha256:b", None)
    assert index.lookups == 0


@pytest.mark.parametrize(
    "model", ["nobody", "medical@3", "medical:none", "Not A Name", "a@b@c", ""]
)
async def test_what_is_not_there_and_what_cannot_be_look_the_same(model: str) -> None:
    index = Index()
    resolving = resolver(index)
    for _ in range(2):
        with pytest.raises(NotFound) as caught:
            await resolving.target(model, "me")
        assert caught.value.message == missing(model).message
    assert index.lookups <= 1  # remembered as well


def test_a_name_of_any_length_makes_a_short_message() -> None:
    assert missing("x" * 5000).message == f"the model `{'x' * 200}` does not exist"


async def test_a_canary_gets_its_share_and_each_caller_one_side() -> None:
    index = Index()
    index.holders["prod"] = (ONE, TWO)
    resolving = resolver(index)
    seen = {}
    for caller in range(300):
        versions = {(await resolving.target("medical", str(caller))).version for _ in range(2)}
        assert len(versions) == 1
        seen[caller] = versions.pop()
        assert seen[caller] == (1 if point(f"{caller}\nmedical") < 90 else 2)
    assert set(seen.values()) == {1, 2}


async def test_a_moved_alias_is_seen_and_what_was_read_before_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    index = Index()
    resolving = resolver(index)
    watching = watch(resolving)
    await asyncio.sleep(0.02)
    assert (await resolving.target("medical", "me")).version == 1
    index.holders["prod"] = (TWO,)
    index.number += 1
    async with asyncio.timeout(5):
        while (await resolving.target("medical", "me")).version == 1:
            await settle()
    lookups = index.lookups
    await asyncio.sleep(0.02)
    await resolving.target("medical", "me")
    assert index.lookups == lookups  # nothing changed: nothing is read
    watching.cancel()


async def test_what_was_read_under_an_old_revision_is_not_kept() -> None:
    """Read before the alias moved, stored after the cache was emptied: stale for good."""
    index = Index()
    resolving = resolver(index)

    def move() -> None:
        index.holders["prod"] = (TWO,)
        resolving._epoch += 1
        resolving._holders.clear()
        index.before = lambda: None

    index.before = move
    assert (await resolving.target("medical", "me")).version == 1
    assert (await resolving.target("medical", "me")).version == 2


async def test_what_was_read_while_the_watcher_saw_a_change_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    index = Index()
    resolving = resolver(index)
    watching = watch(resolving)

    def move() -> None:
        index.holders["prod"] = (TWO,)
        index.number += 1
        index.before = lambda: None
        seen, deadline = index.polls + 2, time.monotonic() + 60
        while index.polls < seen:  # the first has seen it, and by the second it was acted upon
            assert time.monotonic() < deadline
            time.sleep(0.001)

    async with asyncio.timeout(60):
        while index.polls < 2:  # it has seen the index, as every watcher has
            await settle()
    index.before = move
    assert (await resolving.target("medical", "me")).version == 1
    watching.cancel()
    assert (await resolving.target("medical", "me")).version == 2


async def test_between_two_looks_at_the_index_there_is_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 3600.0)
    index = Index()
    watching = watch(resolver(index))
    async with asyncio.timeout(60):
        while not index.polls:
            await settle()
    await asyncio.sleep(0.05)
    assert index.polls == 1
    watching.cancel()


async def test_an_index_that_is_away_is_reported_and_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.001)

    monkeypatch.setattr(module, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
    index = Index()
    resolving = resolver(index)
    resolving._holders["medical"] = (ONE,)
    index.broken = Unavailable("away")
    watching = watch(resolving)
    async with asyncio.timeout(5):
        while resolving._holders:
            await settle()
    watching.cancel()
    assert [record.getMessage() for record in caplog.records] == ["the index does not answer: away"]
    assert slept[0] == 1.0


async def test_an_index_that_is_away_for_the_second_time_is_reported_for_the_second_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each time once, however often it is asked."""
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)
    index = Index()
    answers = iter(["away", "away", "here", "here", "gone", "gone", "here"])

    def revision() -> int:
        index.polls += 1
        said = next(answers, "here")
        if said != "here":
            raise Unavailable(said)
        return index.number

    monkeypatch.setattr(index, "revision", revision)
    watching = watch(resolver(index))
    async with asyncio.timeout(60):
        while index.polls < 8:
            await settle()
    watching.cancel()
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"the index does not answer: {said}" for said in ("away", "gone")]


async def test_an_absence_that_was_read_under_an_old_revision_is_not_kept() -> None:
    """Published while it was being looked up: it would be missing until the next change."""
    index = Index()
    resolving = resolver(index)

    def publish() -> None:
        index.holders["later"] = (TWO,)
        resolving.forget()
        index.before = lambda: None

    index.before = publish
    with pytest.raises(NotFound):
        await resolving.target("medical:later", "me")
    assert (await resolving.target("medical:later", "me")).version == 2


async def test_who_answered_is_remembered_over_several_changes_of_other_names() -> None:
    """An alias that nobody asked for between two changes is handed over all the same."""
    index = Index()
    index.holders["other"] = (TWO,)
    resolving = resolver(index)
    asked: list[str] = []

    async def begun(model: str, before: Any, now: Any, done: Callable[[], None]) -> bool:
        asked.append(model)
        return True

    resolving.hand_over(cast(Any, SimpleNamespace(begun=begun)))
    await resolving.target("medical:prod", "me")
    resolving.forget()
    await resolving.target("medical:other", "me")
    index.holders["prod"] = (TWO,)
    resolving.forget()
    assert (await resolving.target("medical:prod", "me")).version == 1
    assert asked == ["medical:prod"]


@pytest.mark.parametrize(
    "fault", [IntegrityError("is damaged"), Unavailable("away"), NotFound("deleted")]
)
async def test_an_alias_is_moved_away_from_a_release_that_cannot_be_read(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """It is when somebody promotes or rolls back at once."""
    index = Index()
    resolving = resolver(index)

    async def begun(*arguments: Any) -> bool:
        return True

    handover = SimpleNamespace(begun=begun, answering=lambda: {ONE.digest})
    resolving.hand_over(cast(Any, handover))
    assert (await resolving.target("medical:prod", "me")).version == 1
    index.faults[ONE.digest] = fault
    index.holders["prod"] = (TWO,)
    resolving.forget()
    assert (await resolving.target("medical:prod", "me")).version == 2
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (not isinstance(fault, NotFound))


async def test_what_cannot_be_read_keeps_no_other_promotion_waiting() -> None:
    index, counted = Index(), list[str]()
    index.holders["other"] = (ONE,)
    resolving = resolver(index)
    begun = asyncio.Event()

    async def begin(model: str, *arguments: Any) -> bool:
        if model == "medical:prod":
            raise IntegrityError("is damaged")
        begun.set()
        return True

    handover = SimpleNamespace(begun=begin, answering=lambda: {ONE.digest})
    resolving.hand_over(cast(Any, handover))
    for alias in ("prod", "other"):
        await resolving.target(f"medical:{alias}", "me")
        index.holders[alias] = (TWO,)
    supervisor = Supervisor(count=counted.append)
    supervisor.task("promotions", resolving.follow)
    resolving.forget()
    await asyncio.wait_for(begun.wait(), 5)
    assert counted == []
    await supervisor.cancel()


async def test_the_cache_is_bounded_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CACHE_LIMIT", 2)
    index = Index()
    resolving = resolver(index)
    for model in ("medical@1", "medical@2", "medical:prod"):
        await resolving.target(model, "me")
    assert list(resolving._holders) == ["medical@2", "medical:prod"]


async def test_names_that_nobody_holds_push_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are what a client makes up: few are kept, and none that cannot be a name."""
    monkeypatch.setattr(module, "_ABSENT_LIMIT", 2)
    index = Index()
    resolving = resolver(index)
    await resolving.target("medical", "me")
    asked = index.lookups
    for model in ("x" * 4_000_000, "a b", "no@0", "", "nobody@1", "nobody@2", "nobody@3"):
        with pytest.raises(NotFound):
            await resolving.target(model, "me")
    assert index.lookups == asked + 3
    assert list(resolving._holders) == ["medical"]
    assert list(resolving._absent) == ["nobody@2", "nobody@3"]
    with pytest.raises(NotFound):
        await resolving.target("nobody@3", "me")
    assert index.lookups == asked + 3
