"""Batches that end otherwise than by their last line: what was answered and paid is listed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from adapterworks.gateway.jobs import batching, claiming
from adapterworks.gateway.jobs.asking import MOST_BROKEN
from adapterworks.gateway.jobs.room import Room, open_room
from adapterworks.gateway.request.relay import Relay
from adapterworks.gateway.tenants.admin import TenantAdmin
from adapterworks.gateway.tenants.consent import Consent
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.bases.base import Base
from adapterworks.registry.blobs.store import BlobStore
from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs import lookup, queue, schema
from adapterworks.registry.jobs.files import Files
from adapterworks.registry.jobs.job import BATCH_LANE, Claim
from adapterworks.registry.lifecycle import holding
from adapterworks.registry.registry import Registry
from tests.gateway.jobs.test_batches import begin, lines, request, wait
from tests.gateway.jobs.test_batches_kept import agree, kept
from tests.gateway.jobs_support import House, again, house, move_in
from tests.gateway.running import Launcher, Loop
from tests.waiting import until

__all__ = ["house"]


def answered(registry: Registry, batch: str) -> int:
    query = sa.select(sa.func.count()).where(schema.lines.c.job == batch)
    with registry.database.read() as connection:
        return int(connection.scalar(query) or 0)


def test_what_was_broken_off_in_one_gateway_counts_in_the_next(
    loop: Loop,
    registry: Registry,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each restart, and each further gateway, would ask a line that ends engines anew."""
    broken_off: list[bytes] = []

    async def cut(relay: Relay, upstream: Any) -> None:
        broken_off.append(await upstream.read())
        long = 600.0 if len(broken_off) == 2 else 0.01
        raise Unavailable("the engine broke off its answer", retry_after=long)

    monkeypatch.setattr(Relay, "_whole", cut)
    first = Launcher(loop)
    house = move_in(first, registry, base, tmp_path)
    batch = begin(house.client(), [request(1, base.name)])
    until(lambda: len(broken_off) == 2)
    first.close()
    second = Launcher(loop)
    house = again(second, house, base, tmp_path)
    done = wait(house.client(), batch.id, "completed", "failed")
    assert len(broken_off) == MOST_BROKEN
    (lost,) = lines(house.client(), done.error_file_id)
    assert lost["response"]["status_code"] == 503
    second.close()


def test_a_batch_is_held_while_its_results_are_written(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow storage: another gateway would take the batch, write its results again, and so on."""
    monkeypatch.setattr(claiming, "LEASE_S", 0.6)
    monkeypatch.setattr(batching, "_RENEW_S", 0.1)
    whole, room = holding.deposit, open_room(house.running.gateway)
    tried: list[Any] = []

    def put(
        database: Database, blobs: BlobStore, kind: str, sources: Mapping[str, Any], *, holder: str
    ) -> str:
        if any(Path(path).name.startswith("batch-") for path in sources.values()):
            until = time.monotonic() + 2.0
            while time.monotonic() < until:
                tried.append(claiming.claim(room, [BATCH_LANE], "another"))
                time.sleep(0.05)
        return whole(database, blobs, kind, sources, holder=holder)

    monkeypatch.setattr(holding, "deposit", put)
    client = house.client()
    batch = begin(client, [request(1, house.standin.base)])
    done = wait(client, batch.id, "completed", "failed")
    assert len(lines(client, done.output_file_id)) == 1
    assert len(tried) > 10
    assert not any(tried)
    with house.registry.database.read() as connection:
        assert lookup.get(connection, batch.id).attempt == 1


def test_what_a_tenant_withdraws_holds_for_the_lines_that_follow(
    launcher: Launcher, registry: Registry, base: Base, tmp_path: Path
) -> None:
    house = move_in(launcher, registry, base, tmp_path, batch_parallel=1)
    house.standin.token_seconds = 0.05
    agree(house, Consent(adapters=("*",)))
    batch = begin(house.client(), [request(number, base.name) for number in range(200)])
    until(lambda: answered(registry, batch.id) >= 2)
    agree(house, None)
    kept(house, 2)
    before = answered(registry, batch.id)
    until(lambda: answered(registry, batch.id) >= before + 3)
    assert len(kept(house, 2)) <= before + 1  # the line that was being asked
    house.client().batches.cancel(batch.id)
    wait(house.client(), batch.id, "cancelled")


def test_losses_before_a_line_was_answered_do_not_count(
    launcher: Launcher, registry: Registry, base: Base, tmp_path: Path
) -> None:
    house = move_in(launcher, registry, base, tmp_path, batch_parallel=1)
    house.standin.token_seconds = 0.05
    batch = begin(house.client(), [request(number, base.name) for number in range(200)])
    until(lambda: answered(registry, batch.id) >= 1)
    with registry.database.write() as connection:
        connection.execute(sa.update(schema.jobs).values(lost=queue.MOST_LOST - 1))

    def lost() -> int:
        with registry.database.read() as connection:
            return lookup.get(connection, batch.id).lost

    until(lambda: lost() == 0)
    house.client().batches.cancel(batch.id)
    wait(house.client(), batch.id, "cancelled")


def test_a_batch_whose_tenant_is_removed_ends_with_what_was_answered(
    launcher: Launcher, registry: Registry, base: Base, tmp_path: Path
) -> None:
    house = move_in(launcher, registry, base, tmp_path, batch_parallel=1)
    house.standin.token_seconds = 0.05
    batch = begin(house.client(), [request(number, base.name) for number in range(200)])
    until(lambda: answered(registry, batch.id) >= 2)
    TenantAdmin(registry.database, who="tester").remove("acme")
    assert house.running.gateway.tenants is not None
    house.running.gateway.tenants.refresh()

    def found() -> Any:
        with registry.database.read() as connection:
            return lookup.get(connection, batch.id)

    until(lambda: found().ended)
    job, files = found(), Files(registry)
    assert (job.state, job.code) == ("failed", "no_tenant")
    listed = files.get(str(job.result["output_file"]), house.acme.id)
    assert listed.rows == answered(registry, batch.id) >= 2


@pytest.mark.parametrize("how", ["cancelled", "failed", "unavailable"])
def test_a_batch_that_nobody_runs_lists_what_was_answered_before_it_ends(
    loop: Loop, registry: Registry, base: Base, tmp_path: Path, how: str
) -> None:
    first = Launcher(loop)
    house = move_in(first, registry, base, tmp_path, batch_parallel=2)
    house.standin.token_seconds = 0.05
    batch = begin(house.client(), [request(number, base.name) for number in range(200)])
    until(lambda: answered(registry, batch.id) >= 3)
    first.close()  # it is queued again
    before = answered(registry, batch.id)
    with registry.database.write() as connection:
        if how == "cancelled":
            assert queue.cancel(connection, batch.id, now=time.time()).state == "queued"
        else:
            code = how if how == "unavailable" else ""
            connection.execute(sa.update(schema.jobs).values(lost=queue.MOST_LOST, code=code))
    second = Launcher(loop)
    house = again(second, house, base, tmp_path)
    ended = wait(house.client(), batch.id, "cancelled", "failed", "completed")
    assert ended.status == ("cancelled" if how == "cancelled" else "failed")
    if ended.errors is not None:
        assert ended.errors.data is not None
        assert ended.errors.data[0].code == {"failed": "lost"}.get(how, how)
    assert len(lines(house.client(), ended.output_file_id)) == before
    assert house.standin.bodies == []
    second.close()


def test_a_batch_bears_with_an_index_that_is_away_for_a_moment(
    launcher: Launcher,
    registry: Registry,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "_RENEW_S", 0.1)
    whole, away = claiming.renew, [3]

    def renew(room: Room, held: Claim) -> str:
        if away[0]:
            away[0] -= 1
            raise Unavailable("the index is locked")
        return whole(room, held)

    monkeypatch.setattr(batching, "renew", renew)
    house = move_in(launcher, registry, base, tmp_path, batch_parallel=1)
    house.standin.token_seconds = 0.05
    batch = begin(house.client(), [request(number, base.name) for number in range(200)])
    until(lambda: away == [0] and answered(registry, batch.id) >= 2)
    house.client().batches.cancel(batch.id)
    wait(house.client(), batch.id, "cancelled")
    with registry.database.read() as connection:
        assert lookup.get(connection, batch.id).attempt == 1
