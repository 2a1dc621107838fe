"""Seats of batches: who only waits, or does not leave, keeps nobody else waiting."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
import sqlalchemy as sa
from starlette.types import Receive

from adapterworks.gateway.admission.errors import RateLimited
from adapterworks.gateway.jobs import asking, batching, sharing
from adapterworks.gateway.jobs.room import open_room
from adapterworks.gateway.request.exchange import Exchange
from adapterworks.manifests.errors import Unavailable
from adapterworks.registry.bases.base import Base
from adapterworks.registry.jobs import schema
from adapterworks.registry.registry import Registry
from tests.gateway.jobs.test_batches import begin, metered, of, wait
from tests.gateway.jobs_support import House, house, move_in
from tests.gateway.running import Launcher

__all__ = ["house"]

NOT_NOW = {
    "its limits": RateLimited("not now", headers={}, retry_after=3600.0),
    "its engine": Unavailable("not now", retry_after=3600.0),
}


@pytest.mark.parametrize("why", NOT_NOW)
def test_a_batch_that_only_waits_gives_up_its_seat(
    launcher: Launcher,
    registry: Registry,
    base: Base,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    why: str,
) -> None:
    monkeypatch.setattr(sharing.Batches.__init__, "__kwdefaults__", {"turn": 0.2})
    whole = asking.collected

    async def collected(exchange: Exchange, receive: Receive) -> Any:
        if exchange._call.payload["messages"][0]["content"].startswith("acme"):
            raise NOT_NOW[why]
        return await whole(exchange, receive)

    monkeypatch.setattr(asking, "collected", collected)
    house = move_in(launcher, registry, base, tmp_path, batch_parallel=2, batch_running=2)
    began = time.time()
    waiting = [begin(house.client(), of("acme", base.name, 3)) for _ in range(2)]
    for batch in waiting:
        wait(house.client(), batch.id, "in_progress")
    short = begin(house.client("globex"), of("globex", base.name, 4))
    wait(house.client("globex"), short.id, "completed")
    query = sa.select(schema.jobs.c.not_before).where(schema.jobs.c.tenant == house.acme.id)
    with registry.database.read() as connection:
        # Whoever gave way is not next again at once.
        assert max(connection.scalars(query)) > began + batching._WAITS_S
    for batch in waiting:
        house.client().batches.cancel(batch.id)
        wait(house.client(), batch.id, "cancelled")
    assert metered(house)[0] == 4


def test_where_a_batch_does_not_leave_its_seat_another_is_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that takes an hour stops its own batch, and no other's turn."""

    async def told() -> list[bool]:
        monkeypatch.setattr(sharing, "_LEAVES_S", 0.0)
        room = open_room(house.running.gateway)
        batches = sharing.Batches(house.running.gateway, room, turn=0.0)
        monkeypatch.setattr(batches, "_others_wait", AsyncMock(return_value=True))
        never = asyncio.Event()
        for began in range(room.table.batch_running):
            seat = sharing._Seat(asyncio.create_task(never.wait()), asyncio.Event(), float(began))  # type: ignore[arg-type]
            batches._seats.append(seat)
        for _ in range(2):
            await batches._fill()
        for seat in batches._seats:
            seat.task.cancel()
        return [seat.give_way.is_set() for seat in batches._seats[:3]]

    assert asyncio.run(told()) == [True, True, False]
