"""Runs one batch: a few lines at a time, each kept as it is answered; ends with the results' files.

Invariants:
- a line that is kept is never asked again, whatever was killed in between;
- a batch is done when each of its lines is kept: one that was cut off is asked again;
- a batch that is to give way asks no further line, and drops none that is being answered; one that
  waits for an engine or for its tenant's limits is as good as not asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.gateway.admission.fairness import FairQueue
from adapterworks.gateway.files.lines import Lines
from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.jobs.asking import NotAsked, NoTenant, ask
from adapterworks.gateway.jobs.batches import (
    BROKEN,
    COUNTS,
    WINDOW_S,
    Line,
    answered,
    broke,
    counts,
    keep,
)
from adapterworks.gateway.jobs.claiming import renew
from adapterworks.gateway.jobs.room import Room
from adapterworks.manifests.errors import AdapterworksError, Unavailable
from adapterworks.registry.jobs import queue, schema
from adapterworks.registry.jobs.files import NewFile
from adapterworks.registry.jobs.job import Claim, Done, Given, Job, Outcome, Stop
from adapterworks.registry.jobs.queue import Lost
from adapterworks.registry.jobs.shown import again, stop

_log = logging.getLogger(__name__)
_RENEW_S = 2.0
_AGAIN_S = 5.0
# Of a batch that gave way while its engine or its tenant's limits kept it waiting: others are next.
_WAITS_S = 15.0
_lines = schema.lines


async def run_batch(
    gateway: Gateway,
    room: Room,
    turns: FairQueue,
    job: Job,
    held: Claim,
    give_way: asyncio.Event,
) -> None:
    """Run a batch to its end, or until it is to give way.

    Args:
        turns: of all batches' lines.
        give_way: set when another batch is to have this one's place; it is queued again.
    """
    outcome = _before(job)
    if outcome is not None:
        await _end(room, job, held, outcome)
        return
    over = asyncio.Event()
    work = asyncio.create_task(_answer(gateway, room, turns, job, held, give_way, over))
    try:
        while not work.done() and outcome is None:
            await asyncio.wait({work}, timeout=_RENEW_S)
            try:
                wanted = await asyncio.to_thread(renew, room, held)
            except Unavailable as error:  # the lease outlasts a few of these
                _log.warning("the batch `%s` is held without a word: %s", job.id, error)
                continue
            if work.done():
                break
            if wanted == "cancel":
                outcome = Given("cancelled", {"cancelling": int(time.time())})
            elif wanted:
                outcome = Given("paused")
            elif time.time() > job.created + WINDOW_S:
                outcome = Done({"expired": True})
        if outcome is None:
            outcome = work.result()
        elif outcome != Given("paused"):
            over.set()
    except asyncio.CancelledError:
        outcome = Given("queued")
        raise
    except Lost:
        return
    except NoTenant as error:
        outcome = Stop("no_tenant", error.message)
    except Unavailable as error:
        _log.warning("the batch `%s` goes on later: %s", job.id, error)
        outcome = again(error, job.tenant, after=error.retry_after or _AGAIN_S)
    except AdapterworksError as error:
        _log.error("the batch `%s` failed", job.id, exc_info=error)
        outcome = stop("internal_error", error, job.tenant)
    finally:
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError, AdapterworksError):
            await work
        if outcome is not None:
            await _end(room, job, held, outcome)


def _before(job: Job) -> Outcome | None:
    """What is known of a batch before a line is asked: it has only to list what was answered."""
    if job.wanted == "cancel":
        return Given("cancelled", {"cancelling": int(time.time())})
    if job.lost >= queue.MOST_LOST:
        lost = f"whoever ran it died or was cut off, {job.lost} times"
        return Stop(job.code or "lost", job.message or lost)
    if time.time() > job.created + WINDOW_S:
        return Done({"expired": True})
    return None


async def _end(room: Room, job: Job, held: Claim, outcome: Outcome) -> None:
    """Write down what came of it, and go on holding it for as long as that takes."""
    task = asyncio.create_task(asyncio.to_thread(_finish, room, job, held, outcome))
    while not task.done():
        await asyncio.wait({task}, timeout=_RENEW_S)
        if not task.done():
            with contextlib.suppress(Lost, Unavailable):  # it has just ended; or once more
                await asyncio.to_thread(renew, room, held)
    await task


async def _answer(
    gateway: Gateway,
    room: Room,
    turns: FairQueue,
    job: Job,
    held: Claim,
    give_way: asyncio.Event,
    over: asyncio.Event,
) -> Outcome:
    known = await asyncio.to_thread(_known, room, job)
    broken = job.result.get(BROKEN, {})
    rows = _Shared((number, row) for number, row in _rows(gateway, job) if number not in known)

    not_asked: set[NotAsked] = set()

    async def one_after_the_other() -> None:
        while not give_way.is_set():
            if (taken := await asyncio.to_thread(next, rows, None)) is None:
                break
            number, row = taken
            endpoint = str(job.arguments["endpoint"])
            line = await ask(
                gateway,
                turns,
                job.tenant,
                job.id,
                number,
                row,
                endpoint,
                give_way,
                over,
                broken.get(str(number), 0),
                partial(_broke, room, held, number),
            )
            if isinstance(line, NotAsked):
                not_asked.add(line)
                break
            await asyncio.to_thread(_keep, room, held, number, line)

    try:
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(one_after_the_other()) for _ in range(at_once(room))]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    if any(task.cancelled() for task in asking):  # the group takes that for an end like any other
        raise Unavailable("a line was cut off before its answer was kept")
    if NotAsked.LIMITS in not_asked:
        return Given("queued", after=_WAITS_S)
    if not_asked:
        return Given("queued")
    left = give_way.is_set() and await asyncio.to_thread(next, rows, None) is not None
    return Given("queued") if left else Done({})


def at_once(room: Room) -> int:
    """How many of a batch's lines are taken up at once.

    As many wait for a turn as have one: while an answer is kept, which takes a busy database long,
    the tenant's next line is in the queue already, or its turn would go to another tenant.
    """
    return 2 * room.table.batch_parallel


def _known(room: Room, job: Job) -> set[int]:
    with room.database.read() as connection:
        return answered(connection, job.id)


class _Shared:
    """An iterator that several threads may take from."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items, self._lock = items, threading.Lock()

    def __iter__(self) -> _Shared:
        return self

    def __next__(self) -> Any:
        with self._lock:
            return next(self._items)


def _rows(gateway: Gateway, job: Job) -> Iterator[tuple[int, dict[str, Any]]]:
    """The input's requests with their lines' numbers; looked at when they were uploaded."""
    lines = Lines()
    for chunk in gateway.registry.blobs.get(str(job.arguments["blob"])):
        for number, line in lines.feed(chunk):
            if line and line.strip():
                yield number, json.loads(line)
    for number, line in lines.close():
        if line and line.strip():
            yield number, json.loads(line)


def _keep(room: Room, held: Claim, number: int, line: Line) -> None:
    with room.database.write() as connection:
        queue.require(connection, held)
        queue.came_on(connection, held)
        keep(connection, held.job, number, line)


def _broke(room: Room, held: Claim, number: int, times: int) -> None:
    with room.database.write() as connection:
        broke(connection, held, number, times)


def _finish(room: Room, job: Job, held: Claim, outcome: Outcome) -> None:
    """What came of it; an end and the files of its results are one transaction."""
    goes_on = isinstance(outcome, Given) and outcome.state != "cancelled"
    with contextlib.ExitStack() as written, contextlib.suppress(Lost):  # another gateway has it
        if goes_on or not isinstance(outcome, Done | Stop | Given):
            with room.database.write() as connection:
                queue.finish(connection, held, outcome, now=time.time())
            return
        made = {
            name: written.enter_context(_written(room, job, name, failed))
            for name, failed in (("output_file", False), ("error_file", True))
        }
        named = {name: new for name, new in made.items() if new.rows}

        def end(connection: Connection, ids: Sequence[str]) -> None:
            now = time.time()
            files = dict(zip(named, ids, strict=True))
            sums = asdict(counts(connection, job))
            result = {**outcome.result, **files, "finalizing": int(now), COUNTS: sums}
            ended = replace(outcome, result=result)
            queue.finish(connection, held, ended, now=now)

        room.files.put_with(list(named.values()), end)


@contextlib.contextmanager
def _written(room: Room, job: Job, name: str, failed: bool) -> Iterator[NewFile]:
    """A file of results while it is put: the lines in the input's order."""
    room.staging.mkdir(parents=True, exist_ok=True)
    digest, size, count = hashlib.sha256(), 0, 0
    with tempfile.NamedTemporaryFile(prefix="batch-", dir=room.staging) as file:
        query = sa.select(_lines.c.output).where(
            _lines.c.job == job.id, _lines.c.failed.is_(failed), _lines.c.output != ""
        )
        with room.database.read() as connection:
            for output in connection.scalars(query.order_by(_lines.c.line)):
                data = output.encode() + b"\n"
                file.write(data)
                digest.update(data)
                size, count = size + len(data), count + 1
        file.flush()
        yield NewFile(
            tenant=job.tenant,
            purpose="batch_output",
            filename=f"{job.id}_{name.removesuffix('_file')}.jsonl",
            path=Path(file.name),
            blob="sha256:" + digest.hexdigest(),
            size=size,
            rows=count,
            seconds=job.arguments["output_seconds"],
        )
