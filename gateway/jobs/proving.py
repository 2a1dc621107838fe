"""Proves what workers have built: a job has succeeded when an engine has reproduced its release.

Takes jobs of the lanes of the bases that engines of this gateway are ready for, one at a time, and
holds each while the release is loaded and proved.

Invariants:
- what has been trained is not lost because an engine is away: that is waited for and told, for
  `proof_hours`; then the job fails, its release stays, and asked for again it is not trained again;
- sooner only what a ready engine says of the release itself fails the job.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy.engine import Connection

from adapterworks.gateway.gateway import Gateway
from adapterworks.gateway.jobs.claiming import claim, holder, renew
from adapterworks.gateway.jobs.room import Room
from adapterworks.gateway.jobs.unproved import NOT_PROVED, not_proved, tell_waits
from adapterworks.gateway.jobs.without_code import end_code
from adapterworks.manifests.errors import AdapterworksError, Unavailable
from adapterworks.registry.jobs import events, queue
from adapterworks.registry.jobs.files import NewFile
from adapterworks.registry.jobs.job import PROOF_LANE, Claim, Done, Given, Job, Outcome, Stop
from adapterworks.registry.jobs.queue import Lost
from adapterworks.registry.jobs.shown import WHY, again, stop
from adapterworks.registry.jobs.waits import Waits, begun

_log = logging.getLogger(__name__)
_LOOK_S = 0.5
_RENEW_S = 5.0
_AGAIN_S = 5.0
_TELL_S = 30.0
_WHAT = "an engine of its base that has room for it"


async def prove_for_ever(gateway: Gateway, room: Room) -> None:
    """Prove jobs until the task is cancelled."""
    name, told = holder(), -_TELL_S
    while True:
        lanes = _lanes(gateway)
        try:
            if time.monotonic() - told >= _TELL_S:
                told = time.monotonic()
                await asyncio.to_thread(end_code, room, time.time())
                await asyncio.to_thread(tell_waits, room, time.time())
            taken = await asyncio.to_thread(claim, room, lanes, name) if lanes else None
            if taken is not None:
                await _prove(gateway, room, *taken)
                continue
        except (AdapterworksError, OSError) as error:
            _log.error("the queue does not answer: %s", error)
        await asyncio.sleep(_LOOK_S)


def _lanes(gateway: Gateway) -> list[str]:
    """Those of the bases that an engine is ready for."""
    ready = (engine for engine in gateway.pool.engines if engine.health.state == "ready")
    return sorted({PROOF_LANE + engine.base.digest for engine in ready})


async def _proved(gateway: Gateway, digest: str) -> list[str]:
    """Load and prove a release on the ready engines of its base; one that can is enough.

    Raises:
        Unavailable: none could now.
        Refused, IntegrityError: it may not be served.
    """
    release = await gateway.resolver.release(digest)
    away = Unavailable("no engine of its base is ready")
    proved = []
    for engine in gateway.pool.ranked(release.base.digest, digest):
        try:
            await gateway.residency(engine).warm(release)
            proved.append(engine.id)
        except Unavailable as error:
            away = error
    if not proved:
        raise away
    return proved


async def _prove(gateway: Gateway, room: Room, job: Job, held: Claim) -> None:
    work = asyncio.create_task(_proved(gateway, str(job.result["digest"])))
    try:
        outcome = await _held(room, job, held, work)
    except asyncio.CancelledError:
        await asyncio.to_thread(_finish, room, job, held, Given("queued"))
        raise
    finally:
        work.cancel()
    await asyncio.to_thread(_finish, room, job, held, outcome)


async def _held(room: Room, job: Job, held: Claim, work: asyncio.Task[list[str]]) -> Outcome:
    while not work.done():
        await asyncio.wait({work}, timeout=_RENEW_S)
        try:
            wanted = await asyncio.to_thread(renew, room, held)
        except Unavailable as error:  # the lease outlasts a few of these
            _log.warning("the queue does not answer: %s", error)
            continue
        if wanted and not work.done():
            return Given("paused" if wanted == "pause" else "cancelled")
    try:
        return Done({"proved_by": await work})
    except Unavailable as error:
        _log.warning("`%s` is proved later: %s", job.id, error)
        now = time.time()
        waits = Waits("engine", _WHAT, begun(job.result, "engine", now))
        if now - waits.since >= room.table.proof_hours * 3600:
            return Stop(NOT_PROVED, not_proved(room, job), result={WHY: error.message})
        later = again(error, job.tenant, after=error.retry_after or _AGAIN_S, counts=False)
        return replace(later, detail={**later.detail, **waits.noted()})
    except AdapterworksError as error:
        _log.warning("`%s` is not proved: %s", job.id, error)
        return stop("proof_failed", error, job.tenant)


def _finish(room: Room, job: Job, held: Claim, outcome: Outcome) -> None:
    """What came of it; a success and the file that belongs to it are one transaction."""

    def end(connection: Connection, outcome: Outcome) -> None:
        now = time.time()
        queue.finish(connection, held, outcome, now=now)
        if isinstance(outcome, Done):
            said = f"proved by an engine; `{job.result['ref']}` can be used"
            events.add(connection, job.id, said, now)
        elif isinstance(outcome, Stop):
            events.add(connection, job.id, f"the job failed: {outcome.message}", now, "error")

    try:
        if isinstance(outcome, Done):
            _with_curve(
                room,
                job,
                lambda connection, files: end(
                    connection, Done({**outcome.result, "result_files": list(files)})
                ),
            )
        else:
            with room.database.write() as connection:
                end(connection, outcome)
    except Lost:
        pass  # another gateway has it, and proves it anew


def _with_curve(room: Room, job: Job, then: Callable[[Connection, Sequence[str]], None]) -> None:
    """List the course of the training as a file of the tenant's, and do what goes with it."""
    table = io.StringIO()
    columns = ("step", "train_loss", "valid_loss")
    writer = csv.DictWriter(table, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    with room.database.read() as connection:
        story = events.since(connection, job.id, 0)
        points, _ = events.checkpoints(connection, job.id, limit=10_000)
    valid = {point.step: point.metrics.get("valid_loss") for point in points}
    steps = {e.data["step"]: e.data["train_loss"] for e in story if e.kind == events.METRICS}
    for step, loss in sorted(steps.items()):
        writer.writerow({"step": step, "train_loss": loss, "valid_loss": valid.get(step)})
    data = table.getvalue().encode()
    room.staging.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix="proof-", dir=room.staging) as file:
        file.write(data)
        file.flush()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        new = NewFile(
            tenant=job.tenant,
            purpose="fine-tune-results",
            filename="step_metrics.csv",
            path=Path(file.name),
            blob=digest,
            size=len(data),
            rows=len(steps),
        )
        room.files.put_with([new], then)
