"""Which batches a gateway runs at once, and how they share it: by tenant, not by who came first.

Invariants:
- of the lines that are asked at once, whoever's tenant has had the fewest tokens for its weight is
  next (`FairQueue`), so a tenant's fifty thousand lines are no reason for another's ten to wait;
- there are never more batches than seats; where others wait, the one that has had its seat for
  longest, and for a turn at least, gives way and is queued again;
- a tenant has as many seats as the queue lets it have jobs that run.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field

from adapterworks.gateway.admission.fairness import FairQueue
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.jobs.batching import at_once, run_batch
from adapterworks.gateway.jobs.claiming import claim, holder
from adapterworks.gateway.jobs.room import Room
from adapterworks.registry.jobs import queue
from adapterworks.registry.jobs.job import BATCH_LANE, Claim, Job

_log = logging.getLogger(__name__)
_LOOK_S = 0.5
_TURN_S = 60.0
# Within this a batch that was told to give way has usually left.
_LEAVES_S = 30.0
# Lines wait for as long as their batches do.
_PATIENCE_S = 7 * 86400.0


@dataclass(eq=False)
class _Seat:
    """A batch that is run.

    Attributes:
        began: by the monotonic clock.
        give_way: whether another is to have the seat.
        told: that it is, by the monotonic clock; 0.0 while it is not.
    """

    task: asyncio.Task[None]
    give_way: asyncio.Event
    began: float = field(default_factory=time.monotonic)
    told: float = 0.0


class Batches:
    """The batches of one gateway.

    Args:
        turn: seconds that a batch has a seat for before it gives way to others.
    """

    def __init__(self, gateway: Gateway, room: Room, *, turn: float = _TURN_S) -> None:
        self._gateway, self._room, self._turn = gateway, room, turn
        table = room.table
        most = at_once(room) * table.batch_running
        self._turns = FairQueue(table.batch_parallel, max_waiting=most, max_wait=_PATIENCE_S)
        self._name = holder()
        self._seats: list[_Seat] = []

    async def run_for_ever(self) -> None:
        """Run batches until the task is cancelled; then each is given back."""
        try:
            while True:
                try:
                    await self._fill()
                except Exception as error:  # whatever it was, the next look is not to miss it
                    _log.error("the queue of batches does not answer", exc_info=error)
                await self._wait()
        finally:
            for seat in self._seats:
                seat.task.cancel()
            await asyncio.gather(*(seat.task for seat in self._seats), return_exceptions=True)

    async def _fill(self) -> None:
        """Give free seats to whoever is next, or have one given up."""
        most = self._room.table.batch_running
        while len(self._seats) < most:
            taken = await asyncio.to_thread(claim, self._room, [BATCH_LANE], self._name)
            if taken is None:
                return
            self._seats.append(self._seat(*taken))
        now = time.monotonic()
        # A line may be answered for long: after a while another seat is to be free instead.
        told = [seat for seat in self._seats if seat.give_way.is_set()]
        untold = [seat for seat in self._seats if not seat.give_way.is_set()]
        if not untold or any(now - seat.told < _LEAVES_S for seat in told):
            return
        longest = min(untold, key=lambda seat: seat.began)
        if now - longest.began >= self._turn and await self._others_wait():
            longest.told = now
            longest.give_way.set()

    def _seat(self, job: Job, held: Claim) -> _Seat:
        give_way = asyncio.Event()
        work = run_batch(self._gateway, self._room, self._turns, job, held, give_way)
        return _Seat(asyncio.create_task(work), give_way)

    async def _others_wait(self) -> bool:
        def look() -> bool:
            with self._room.database.read() as connection:
                return queue.is_something_to_do(connection, [BATCH_LANE], now=time.time())

        return await asyncio.to_thread(look)

    async def _wait(self) -> None:
        """Until a batch has ended, or for a moment."""
        if not self._seats:
            await asyncio.sleep(_LOOK_S)
            return
        tasks = {seat.task: seat for seat in self._seats}
        ended, _ = await asyncio.wait(tasks, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            self._seats.remove(tasks[task])
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("a batch cannot go on", exc_info=error)
