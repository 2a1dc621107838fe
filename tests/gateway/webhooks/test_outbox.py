"""What is to be told: each event once for each address, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from adapterworks.gateway.config.webhooks import EVENTS
from adapterworks.gateway.storage.migrations import migrate
from adapterworks.gateway.webhooks.outbox import KEPT_S, PAUSES_S, TAKEN_S, Outbox
from adapterworks.manifests.errors import NotFound
from adapterworks.registry.jobs import queue, schema
from adapterworks.registry.jobs.job import BATCH, BATCH_LANE, DETACHED, Done, Stop
from adapterworks.registry.registry import Registry
from tests.registry.jobs.conformance import LANES, claim, finish, put
from tests.registry.releases import publish

BEGIN = 1_000_000.0


@dataclass
class Post:
    """A registry, its outbox, and a clock that stands until it is moved."""

    registry: Registry
    now: float = BEGIN
    gates: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.database = self.registry.database
        self.outbox = self.another()

    def another(self) -> Outbox:
        """That of another gateway on the same index."""
        return Outbox(self.database, lambda name, version: self.gates, lambda: self.now)

    def collect(self, *names: str, only: tuple[str, ...] = EVENTS) -> None:
        self.outbox.collect([(name, only.__contains__) for name in names or ("ci",)])

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(one.body) for one in self.outbox.take(["ci"], 100)]

    def ended(self, outcome: Any = None, **more: Any) -> str:
        """A job that has ended now."""
        job = put(self.database, now=self.now, **more)
        lanes = (more.get("lane", LANES[0]),)
        _, held = claim(self.database, now=self.now, lanes=lanes)
        finish(self.database, held, outcome or Done({"ref": "n@1"}), now=self.now)
        return job.id


@pytest.fixture
def post(url: str, tmp_path: Path) -> Iterator[Post]:
    with Registry.open(
        database=url, blobs=str(tmp_path / "blobs"), home=tmp_path / "home"
    ) as registry:
        migrate(registry.database)
        schema.migrate(registry.database)
        yield Post(registry)


def test_an_address_is_told_from_when_it_is_first_seen(post: Post, tmp_path: Path) -> None:
    post.ended()
    publish(post.registry, tmp_path, 1)
    post.now += 1
    post.collect()
    assert post.bodies() == []
    job = post.ended()
    publish(post.registry, tmp_path, 2)
    post.collect()
    said = post.bodies()
    assert [one["type"] for one in said] == ["fine_tuning.job.succeeded", "release.published"]
    assert said[0] == {
        "id": f"evt_{job}",
        "object": "event",
        "created_at": int(post.now),
        "type": "fine_tuning.job.succeeded",
        "data": {"id": job},
    }


def test_nothing_is_made_twice_by_any_gateway(post: Post, tmp_path: Path) -> None:
    post.collect()
    post.ended()
    publish(post.registry, tmp_path, 1, alias="prod")
    for outbox in (post.outbox, post.another(), post.outbox):
        outbox.collect([("ci", EVENTS.__contains__)])
    made = post.outbox.list()
    assert sorted(one.type for one in made) == [
        "alias.moved", "fine_tuning.job.succeeded", "release.published",
    ]  # fmt: skip
    assert len({one.event for one in made}) == 3


def test_what_happened_while_no_gateway_ran_is_told(post: Post, tmp_path: Path) -> None:
    post.collect()
    publish(post.registry, tmp_path, 1)
    post.ended()
    post.now += 40 * 86400.0
    post.outbox = post.another()
    post.collect()
    assert len(post.bodies()) == 2


def test_a_clock_that_is_set_back_delays_and_forgets_nothing(post: Post) -> None:
    post.collect()
    early = post.ended()
    post.collect()
    post.now -= 3600.0
    post.collect()
    post.now += 0.5
    late = post.ended()
    post.now += 0.5
    post.collect()
    said = {one["data"]["id"] for one in post.bodies()}
    assert said == {early, late}
    assert post.bodies() == []  # whoever took them has them for a while


def test_how_jobs_end_in_openais_words(post: Post) -> None:
    post.collect()
    post.ended(Stop("gates", "no better than its base"))
    job = put(post.database, now=post.now)
    with post.database.write() as connection:
        queue.cancel(connection, job.id, now=post.now)
    batch = {"kind": BATCH, "lane": BATCH_LANE}
    post.ended(Done({}), **batch)
    post.ended(Done({"expired": True}), **batch)
    post.ended(Stop("bad", "no rows"), **batch)
    post.ended(kind=DETACHED)  # the command line's own
    post.collect()
    assert sorted(one["type"] for one in post.bodies()) == [
        "batch.completed", "batch.expired", "batch.failed",
        "fine_tuning.job.cancelled", "fine_tuning.job.failed",
    ]  # fmt: skip


def test_moves_say_who_when_and_why(post: Post, tmp_path: Path) -> None:
    post.collect()
    publish(post.registry, tmp_path, 1)
    publish(post.registry, tmp_path, 2)
    post.registry.promote("medical", 2, "prod", who="alice", why="first")
    post.registry.promote("medical", 1, "prod", who="alice", why="no")
    post.registry.rollback("medical", "prod", who="bob")
    post.collect()
    said = sorted(post.bodies(), key=lambda one: int(one["id"].rpartition("_")[2]))
    assert [one["type"] for one in said] == ["release.published"] * 2 + ["alias.moved"] * 3
    assert said[0]["data"]["gates_passed"] is None
    moved = [one["data"] for one in said[2:]]
    assert [(m["move"], m["previous"], m["version"]) for m in moved] == [
        ("promote", None, 2), ("promote", 2, 1), ("rollback", 1, 2),
    ]  # fmt: skip
    assert {m["name"] for m in moved} == {"medical"}
    assert (moved[0]["alias"], moved[0]["who"], moved[0]["why"]) == ("prod", "alice", "first")


def test_a_failed_gate_is_told_beside_its_release(post: Post, tmp_path: Path) -> None:
    post.collect()
    post.gates = {"exact_match: gain 0.1 is below 0.2": False, "bleu: fine": True}
    publish(post.registry, tmp_path, 1)
    post.collect()
    published, failed = sorted(post.bodies(), key=lambda one: len(one["id"]))
    assert (published["type"], published["data"]["gates_passed"]) == ("release.published", False)
    assert failed["type"] == "gates.failed"
    assert failed["data"]["failed"] == ["exact_match: gain 0.1 is below 0.2"]
    assert failed["id"] == published["id"] + "_gates"


def test_only_what_is_wanted_is_told(post: Post, tmp_path: Path) -> None:
    post.collect(only=("alias.moved",))
    post.ended()
    publish(post.registry, tmp_path, 1, alias="prod")
    post.collect(only=("alias.moved",))
    assert [one["type"] for one in post.bodies()] == ["alias.moved"]


def test_what_was_taken_and_not_finished_is_due_again(post: Post) -> None:
    post.collect()
    post.ended()
    post.collect()
    (taken,) = post.outbox.take(["ci"], 10)
    assert post.another().take(["ci"], 10) == []
    post.now += TAKEN_S - 1
    assert post.another().take(["ci"], 10) == []
    post.now += 1
    (again,) = post.another().take(["ci"], 10)
    assert (again.event, again.body) == (taken.event, taken.body)
    post.outbox.sent(again, "status 200")
    post.now += 10 * TAKEN_S
    assert post.outbox.take(["ci"], 10) == []
    (kept,) = post.outbox.list(state="sent")
    assert (kept.tried, kept.said) == (1, "status 200")


def test_it_is_tried_after_ever_longer_pauses_and_then_given_up(post: Post) -> None:
    post.collect()
    post.ended()
    post.collect()
    for tried, pause in enumerate(PAUSES_S):
        (taken,) = post.outbox.take(["ci"], 10)
        assert taken.tried == tried
        assert post.outbox.failed(taken, "status 503")
        post.now += pause - 1
        assert post.outbox.take(["ci"], 10) == []
        post.now += 1
    (last,) = post.outbox.take(["ci"], 10)
    assert not post.outbox.failed(last, "status 503")
    post.now += 10 * PAUSES_S[-1]
    assert post.outbox.take(["ci"], 10) == []
    (dropped,) = post.outbox.list(state="dropped")
    assert (dropped.tried, dropped.said) == (len(PAUSES_S) + 1, "status 503")
    assert post.outbox.resend(dropped.event) == 1
    (again,) = post.outbox.take(["ci"], 10)
    assert (again.event, again.tried) == (dropped.event, 0)
    with pytest.raises(NotFound, match="no delivery of"):
        post.outbox.resend(dropped.event, "other")


def test_an_address_that_is_gone_is_not_asked_again(post: Post) -> None:
    post.collect()
    post.ended()
    post.collect()
    (taken,) = post.outbox.take(["ci"], 10)
    assert not post.outbox.failed(taken, "status 410", for_good=True)
    post.now += 10 * TAKEN_S
    assert post.outbox.take(["ci"], 10) == []


def test_each_address_has_its_own(post: Post) -> None:
    post.collect("ci", "chat")
    post.ended()
    post.collect("ci", "chat")
    (taken,) = post.outbox.take(["ci"], 10)
    post.outbox.sent(taken, "status 200")
    (other,) = post.outbox.take(["chat"], 10)
    assert (other.address, other.event) == ("chat", taken.event)


def test_old_deliveries_go_and_are_not_made_again(post: Post) -> None:
    post.collect()
    post.ended()
    post.collect()
    (taken,) = post.outbox.take(["ci"], 10)
    post.outbox.sent(taken, "status 200")
    post.now += KEPT_S / 2
    post.collect()
    assert len(post.outbox.list()) == 1
    post.now += KEPT_S
    post.collect()
    assert post.outbox.list() == []
    post.collect()
    assert post.outbox.list() == []
