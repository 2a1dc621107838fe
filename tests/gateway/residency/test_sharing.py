"""Several gateways on one engine: the last one unloads; what is wrong all the same is mended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from adapterworks.gateway.config.tables import GatewayConfig, ResidencyTable, TrustTable
from adapterworks.gateway.residency import sharing, upkeep
from adapterworks.gateway.residency.sharing import Meeting, Sharing
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.registry.bases.base import Base
from adapterworks.registry.index.database import Database
from adapterworks.registry.registry import Registry
from tests.gateway.engine_standin import StandIn
from tests.gateway.running import Launcher, Loop, Running
from tests.registry.releases import publish

CHAT = "/v1/chat/completions"
NAMES = ("a", "b", "c", "d", "e", "f")


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    migrate(opened)
    yield opened
    opened.close()


def test_the_last_who_holds_it_unloads(database: Database) -> None:
    one, other = Sharing(database, "one"), Sharing(database, "other")
    one.hold("engine", ["sha256:a", "sha256:b"])
    other.hold("engine", ["sha256:a"])
    other.hold("another engine", ["sha256:b"])
    assert not one.let_go("engine", "sha256:a")
    assert not one.let_go("engine", "sha256:a")  # twice is once
    assert other.let_go("engine", "sha256:a")
    assert one.let_go("engine", "sha256:b")


def test_what_a_killed_gateway_held_is_forgotten(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, killed = Sharing(database, "one"), Sharing(database, "killed")
    killed.hold("engine", ["sha256:a"])
    one.hold("engine", ["sha256:a"])
    now = time.time()
    monkeypatch.setattr(sharing, "now_s", lambda _: now + sharing.HELD_SECONDS - 1)
    assert not one.let_go("engine", "sha256:a")
    one.hold("engine", ["sha256:a"])
    monkeypatch.setattr(sharing, "now_s", lambda _: now + sharing.HELD_SECONDS + 1)
    assert one.let_go("engine", "sha256:a")


def test_a_clock_that_is_set_back_makes_nobody_hold_for_longer(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, killed = Sharing(database, "one"), Sharing(database, "killed")
    now = time.time()
    monkeypatch.setattr(sharing, "now_s", lambda _: now + 3600)
    killed.hold("engine", ["sha256:a"])
    killed.meet("engine", {})
    monkeypatch.setattr(sharing, "now_s", lambda _: now)
    assert one.meet("engine", {}).gateways == 2
    assert not one.let_go("engine", "sha256:a")
    monkeypatch.setattr(sharing, "now_s", lambda _: now + sharing.HELD_SECONDS + 1)
    assert one.meet("engine", {}).gateways == 1
    assert one.let_go("engine", "sha256:a")


def test_who_ends_holds_nothing(database: Database) -> None:
    one, other = Sharing(database, "one"), Sharing(database, "other")
    one.hold("engine", ["sha256:a"])
    other.hold("engine", ["sha256:a"])
    other.end()
    assert one.let_go("engine", "sha256:a")


def test_each_learns_what_the_others_have_served(database: Database) -> None:
    one, other, late = (Sharing(database, name) for name in ("one", "other", "late"))
    assert one.meet("engine", {"ann": 100}) == Meeting(1, {})
    # What was served before it came is nobody's news.
    assert other.meet("engine", {"ann": 7, "bob": 5}) == Meeting(2, {})
    assert one.meet("engine", {}) == Meeting(2, {"ann": 7, "bob": 5})
    assert other.meet("engine", {"bob": -2}) == Meeting(2, {})
    assert one.meet("engine", {"ann": 50}) == Meeting(2, {"bob": -2})
    assert other.meet("engine", {}) == Meeting(2, {"ann": 50})
    assert late.meet("another engine", {"ann": 9}) == Meeting(1, {})
    assert late.meet("engine", {}) == Meeting(3, {})
    other.end()
    assert one.meet("engine", {}) == Meeting(2, {})


def test_who_is_only_there_holds_no_adapter(database: Database) -> None:
    one, other = Sharing(database, "one"), Sharing(database, "other")
    one.hold("engine", ["sha256:a"])
    other.meet("engine", {})
    assert one.let_go("engine", "sha256:a")


def test_it_is_renewed_before_it_is_forgotten() -> None:
    assert sharing.RENEW_SECONDS * 3 < sharing.HELD_SECONDS


@dataclass
class Pair:
    """Two gateways on one engine that holds two adapters for each of them."""

    registry: Registry
    home: Path
    standin: StandIn
    gateways: tuple[Running, Running]
    digests: dict[str, str]

    def ask(self, which: int, model: str) -> httpx.Response:
        """One answer of one of them."""
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
        return httpx.post(self.gateways[which].url + CHAT, json=body, timeout=60)


@pytest.fixture
def pair(
    loop: Loop, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Pair]]:
    monkeypatch.setattr(upkeep, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(upkeep, "PIN_SECONDS", 0.05)
    monkeypatch.setattr(upkeep, "RENEW_SECONDS", 0.2)
    launcher = Launcher(loop)
    registries = []

    def start(pins: tuple[str, ...] = (), cold_wait: float = 60.0) -> Pair:
        standin = StandIn(base.name)
        settings = GatewayConfig(
            open=True,
            trust=TrustTable(proof="off"),
            residency=ResidencyTable(pins=pins, cold_wait_seconds=cold_wait),
        )
        engine = launcher.standin(base, standin, slots=2, capacity=2)
        address = engine.url  # type: ignore[attr-defined]
        gateways, digests = [], {}
        for number in range(2):
            registry = Registry.open(
                database=f"sqlite:///{tmp_path / 'index.db'}",
                blobs=str(tmp_path / "blobs"),
                home=tmp_path,
            )
            registries.append(registry)
            if not digests:
                for at, name in enumerate(NAMES, 1):
                    published = publish(
                        registry, tmp_path, at, name=name, alias="prod", base=base.identity
                    )
                    digests[name] = published.digest
            if number:
                engine = launcher.beside(engine, slots=2, capacity=2)
            running = launcher.gateway(registry, [engine], tmp_path / f"spool-{number}", settings)
            running.wait_ready()
            gateways.append(running)
        assert engine.url == address  # type: ignore[attr-defined]
        return Pair(registries[0], tmp_path, standin, (gateways[0], gateways[1]), digests)

    yield start
    launcher.close()
    for registry in registries:
        registry.close()


def test_two_gateways_that_unload_for_others_never_answer_404(pair: Callable[..., Pair]) -> None:
    both = pair()

    async def all_() -> list[tuple[str, httpx.Response]]:
        async with httpx.AsyncClient(timeout=120) as client:

            async def one(number: int) -> tuple[str, httpx.Response]:
                model = NAMES[number * 7 % len(NAMES)]
                hello = [{"role": "user", "content": "hi"}]
                body = {"model": model, "messages": hello, "max_tokens": 1}
                url = both.gateways[number % 2].url
                return model, await client.post(url + CHAT, json=body)

            return list(await asyncio.gather(*(one(number) for number in range(120))))

    answers = asyncio.run(all_())
    assert {answer.status_code for _, answer in answers} == {200}
    for model, answer in answers:
        assert answer.headers["x-adapter-digest"] == both.digests[model]
        content = answer.json()["choices"][0]["message"]["content"]
        assert content.startswith(both.digests[model][-8:])
    assert len(both.standin.unloads) > 0
    assert both.standin.unloaded_in_use == 0


def test_what_the_other_one_holds_is_not_unloaded(pair: Callable[..., Pair]) -> None:
    both = pair()
    for which in (0, 1):
        assert both.ask(which, "a").status_code == 200
    for model in ("b", "c", "d"):  # the first one lets `a` go
        assert both.ask(0, model).status_code == 200
    assert both.digests["a"] not in both.standin.unloads
    loads = len(both.standin.loads)
    assert both.ask(1, "a").status_code == 200
    assert len(both.standin.loads) == loads


def test_what_the_engine_lost_is_loaded_again_and_answered_once(pair: Callable[..., Pair]) -> None:
    """By somebody else, or since it was started again behind a proxy."""
    both = pair()
    assert both.ask(0, "a").status_code == 200
    del both.standin.loaded[both.digests["a"]]
    asked = len(both.standin.bodies)
    answer = both.ask(0, "a")
    assert answer.status_code == 200, answer.text
    assert both.standin.loads.count(both.digests["a"]) == 2
    assert len(both.standin.bodies) <= asked + 2


def test_what_the_engine_does_not_list_is_known_without_a_request(
    pair: Callable[..., Pair],
) -> None:
    both = pair()
    assert both.ask(0, "a").status_code == 200
    residency = next(iter(both.gateways[0].gateway.fleet.residencies.values()))
    del both.standin.loaded[both.digests["a"]]
    deadline = time.monotonic() + 60
    while residency.holds(both.digests["a"]):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_promotion_under_traffic_costs_nobody_an_answer(pair: Callable[..., Pair]) -> None:
    both = pair(cold_wait=1.0)
    assert both.ask(0, "a").status_code == 200
    new = publish(both.registry, both.home, 50, name="a", base=_base_of(both), alias=None)
    both.standin.load_seconds = 3.0  # longer than any request may wait
    both.registry.promote("a", new.version, "prod", who="tester")
    seen: list[str] = []
    deadline = time.monotonic() + 60
    while new.digest not in seen:
        answer = both.ask(0, "a")
        assert answer.status_code == 200, answer.text
        seen.append(answer.headers["x-adapter-digest"])
        assert time.monotonic() < deadline
    assert set(seen) == {both.digests["a"], new.digest}
    assert seen == sorted(seen, key=lambda digest: digest == new.digest)  # never back


def test_a_promotion_that_nobody_asks_for_is_begun_all_the_same(pair: Callable[..., Pair]) -> None:
    """Else the first request after it, an hour later, is answered by the release before."""
    both = pair()
    assert both.ask(0, "a").headers["x-adapter-digest"] == both.digests["a"]
    new = publish(both.registry, both.home, 50, name="a", base=_base_of(both), alias="prod")
    residency = next(iter(both.gateways[0].gateway.fleet.residencies.values()))
    _until(lambda: residency.holds(new.digest))
    _until(lambda: not both.gateways[0].gateway.resolver._handover._under_way)  # type: ignore[union-attr]
    assert both.ask(0, "a").headers["x-adapter-digest"] == new.digest


def test_pins_follow_their_alias(pair: Callable[..., Pair]) -> None:
    both = pair(pins=("a:prod",))
    residency = next(iter(both.gateways[0].gateway.fleet.residencies.values()))

    def pinned() -> set[str]:
        return {e.release.digest for e in residency.entries if e.pinned and e.stage == "resident"}

    _until(lambda: pinned() == {both.digests["a"]})
    new = publish(both.registry, both.home, 50, name="a", base=_base_of(both), alias="prod")
    _until(lambda: pinned() == {new.digest})
    for model in ("b", "c", "d"):
        assert both.ask(0, model).status_code == 200
    assert pinned() == {new.digest}


def test_what_is_served_is_kept_from_gc_and_given_back(pair: Callable[..., Pair]) -> None:
    both = pair()
    assert both.ask(0, "a").status_code == 200
    _until(lambda: _leased(both) == 1)
    for model in ("b", "c"):
        assert both.ask(0, model).status_code == 200
    _until(lambda: _leased(both) == 2)


def _leased(both: Pair) -> int:
    import sqlalchemy as sa

    from adapterworks.registry.index import schema

    query = sa.select(sa.func.count()).where(schema.leases.c.kind == "serving")
    with both.registry.database.read() as connection:
        return int(connection.scalar(query) or 0)


def _base_of(both: Pair) -> object:
    return both.registry.release(both.digests["a"]).base


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_gateways_divide_the_turns_of_their_engine(pair: Callable[..., Pair]) -> None:
    both = pair()
    queues = [next(iter(running.gateway.fleet.queues.values())) for running in both.gateways]
    whole = queues[0].whole
    _until(lambda: [queue.slots for queue in queues] == [whole // 2, whole // 2])


def test_what_a_tenant_was_served_by_one_counts_in_the_other(pair: Callable[..., Pair]) -> None:
    """Else whoever floods every gateway gets a share of each."""
    both = pair()
    queues = [next(iter(running.gateway.fleet.queues.values())) for running in both.gateways]
    assert both.ask(1, "a").status_code == 200  # known there
    _until(lambda: queues[1].slots < queues[1].whole)
    before = queues[1]._tenants["open"].counter
    for _ in range(5):
        assert both.ask(0, "a").status_code == 200
    counted = sum(sum(counts) for counts in both.standin.answered.values())
    _until(lambda: queues[1]._tenants["open"].counter > before + counted / 2)
