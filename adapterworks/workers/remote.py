"""A build on another machine: a job in a lane of its own, and a worker for that lane started there.

What came of it is asked of the queue, like any job's: `adapters jobs show`, `logs`, `cancel`. The
place is asked only whether anybody runs it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import make_url

from adapterworks.app import App
from adapterworks.manifests.errors import Conflict, InvalidInput, NotFound, Unavailable
from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs import events, lookup, putting, queue, schema
from adapterworks.registry.jobs.job import DETACHED, OPERATOR, Job, NewJob
from adapterworks.registry.lifecycle import holding, leases
from adapterworks.workers.environment import public_environment, shared_environment
from adapterworks.workers.executors.executor import Executor, NoPlace, Resources, Task
from adapterworks.workers.executors.where import Where
from adapterworks.workers.placed import (
    ON,
    WorkerGone,
    WorkerStatus,
    place_of,
    task_of,
    worker_status,
)

if TYPE_CHECKING:
    from adapterworks.registry.registry import Registry
    from adapterworks.workers.bundle import Packed

LANE = "on:"
NEEDS = "needs"
"""Where a job's arguments say what its worker needs of a node."""
_COMMAND = "from adapterworks.cli.main import main; main()"
_LOOK_S = 1.0
_PLACE_LOOK_S = 10.0
_TOLD_LINES = 20
_BECAME = {
    "ended": "ended",
    "failed": "failed",
    "cancelled": "was cancelled",
    "forgotten": "is not known to its place",
}
# Longer than what goes along takes to be stored; the lease ends when the job is queued.
_UPLOAD_S = 86400.0
# A worker that is up takes what is queued within a second, or is about to end.
_ENDING_LOOKS = 30


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job, and the id that the place has given its worker."""

    job: Job
    task: str


def begin(
    app: App,
    where: Where,
    executor: Executor,
    arguments: Mapping[str, Any],
    *,
    resources: Resources,
    priority: int = 0,
    labels: Mapping[str, str] = MappingProxyType({}),
) -> Submitted:
    """Queue a build and have its worker started.

    Args:
        arguments: of `detached.arguments`.
        labels: of the job, beside its place.

    Raises:
        Refused, Unavailable, NotFound: the place does not take it; the job is cancelled, as it is
            whatever else keeps its worker from being begun.
        InvalidInput: the place does not see this machine's files, and cannot do without.
    """
    database = app.registry.database
    schema.migrate(database)
    lane = LANE + secrets.token_hex(8)
    with contextlib.ExitStack() as stack:
        if not executor.shares_files:
            packed = _packed(app, where, arguments)
            stack.enter_context(stored(app.registry, packed))
            arguments = {**arguments, "manifest": packed.name, "files": dict(packed.files)}
        arguments = {**arguments, NEEDS: asdict(resources)}
        job = queued(database, lane, arguments, {ON: str(where), **labels}, priority=priority)
    try:
        began = _start_worker(app, executor, job, job.id)
    except BaseException:  # Ctrl-C too: nobody else would ever look into the job's lane
        with contextlib.suppress(Conflict):  # its worker was begun all the same, and has ended it
            _cancel(app, job.id)
        raise
    return Submitted(job, began)


def begin_again(app: App, executor: Executor, job: Job) -> str | None:
    """Have a job's place begin a worker for it, if none is there: it was paused, or lost.

    Returns the place's id for it; None if the job has a worker there.

    Raises:
        Conflict: the job is paused, or has ended.
        Refused, Unavailable, NotFound: the place does not take it.
    """
    for _ in range(_ENDING_LOOKS):
        with app.registry.database.read() as connection:
            job = lookup.get(connection, job.id)
        if job.ended or job.state == "paused":
            raise Conflict(f"the job `{job.id}` is {job.state}")
        found = worker_status(executor, task_of(job))
        if not found.is_there:
            return _start_worker(app, executor, job, f"{job.id}-{secrets.token_hex(3)}")
        if found.state == "waiting" or job.state == "running":
            return None
        time.sleep(_LOOK_S)
    return None


def _start_worker(app: App, executor: Executor, job: Job, name: str) -> str:
    """Have a place start `adapters worker` for a job's lane; returns its id for it."""
    python = sys.executable if executor.shares_files else "python"
    words = (python, "-P", "-c", _COMMAND, "worker", "--lane", job.lane)
    told = shared_environment(app) if executor.shares_files else public_environment(app)
    needs = Resources(**job.arguments.get(NEEDS, {}))
    began = executor.submit(Task(name, words, told, Path.cwd(), needs))
    with app.registry.database.write() as connection:
        putting.place(connection, job.id, began)
        said = f"given to {place_of(job)} as {began}"
        events.add(connection, job.id, said, time.time())
    return began


def queued(
    database: Database,
    lane: str,
    arguments: Mapping[str, Any],
    labels: Mapping[str, str],
    *,
    priority: int = 0,
) -> Job:
    """The job of a build; gc leaves the files that go along with it until it has ended."""
    new = NewJob(DETACHED, OPERATOR, lane, arguments, priority=priority, labels=labels)
    with database.write() as connection:
        job = putting.put(connection, new, now=time.time())
        if files := arguments.get("files"):
            putting.hold_files(connection, job.id, files.values())
    return job


def follow(app: App, executor: Executor, begun: Submitted, say: Callable[[str], None]) -> Job:
    """Say what happens until the job has ended; returns it.

    A place that does not answer is asked again: its worker goes on, and tells the registry. A job
    that somebody pauses is waited for: who resumes it has its place begin a worker again.

    Raises:
        WorkerGone: its worker ended without it, with the end of what it printed; the job is
            cancelled.
    """
    seen, looked, place = 0, time.monotonic(), _Place(executor, say)
    while True:
        with app.registry.database.read() as connection:
            job = lookup.get(connection, begun.job.id)
            later = events.since(connection, begun.job.id, seen)
        for event in later:
            seen = event.sequence
            say(event.message)
        if job.ended:
            return job
        if job.state == "paused":
            place.paused(job)
        elif time.monotonic() - looked > _PLACE_LOOK_S:
            looked = time.monotonic()
            if (gone := place.lost(job)) is not None:
                _end_without_a_worker(app, executor, job, gone)
        time.sleep(_LOOK_S)


class _Place:
    """What is said of a place while a job is followed: once, until it changes."""

    def __init__(self, executor: Executor, say: Callable[[str], None]) -> None:
        self._executor, self._say = executor, say
        self._said = ""
        self._let_go: str | None = None

    def paused(self, job: Job) -> None:
        """Its worker ends, and is begun again by whoever resumes the job."""
        self._let_go = task_of(job)
        self._tell(f"it is paused; `adapters jobs resume {job.id}` lets it go on")

    def lost(self, job: Job) -> WorkerStatus | None:
        """How a worker stands that is there no more, and should be."""
        task = task_of(job)
        try:
            found = worker_status(self._executor, task)
        except (Unavailable, NoPlace) as error:
            self._tell(f"{error.message}; it is asked again")
            return None
        if not found.is_there and task != self._let_go:
            return found
        if not found.is_there:
            self._tell(f"nobody runs it: `adapters jobs resume {job.id}` has a worker begun")
        else:
            self._tell(f"it waits: {found.why}" if found.state == "waiting" and found.why else "")
        return None

    def _tell(self, line: str) -> None:
        if line and line != self._said:
            self._say(line)
        self._said = line


def _end_without_a_worker(app: App, executor: Executor, job: Job, gone: WorkerStatus) -> None:
    with app.registry.database.read() as connection:
        if lookup.get(connection, job.id).ended:  # between the two questions
            return
    _cancel(app, job.id)
    try:
        said = "\n".join(executor.log(task_of(job)).splitlines()[-_TOLD_LINES:])
    except (Unavailable, NotFound) as error:
        said = error.message
    raise WorkerGone(
        f"the worker `{task_of(job)}` {_BECAME[gone.state]} before its job was done:\n"
        f"{said or gone.why or 'it said nothing'}",
        hint=None
        if executor.shares_files
        else "its nodes must reach the index and the blob store of this registry, and have their "
        "passwords in variables of their own",
    )


def _cancel(app: App, job: str) -> None:
    with app.registry.database.write() as connection:
        queue.cancel(connection, job, now=time.time())


def _packed(app: App, where: Where, arguments: Mapping[str, Any]) -> Packed:
    """The manifest and rows that go along.

    Raises:
        InvalidInput: the index is a file of this machine, or the manifest names files elsewhere.
    """
    from adapterworks.manifests.load import load_manifest
    from adapterworks.workers.bundle import pack

    if make_url(app.settings.database).get_backend_name() == "sqlite":
        raise InvalidInput(
            f"the index is a file of this machine, which `{where}` does not see",
            hint="set ADAPTERS_DATABASE to a PostgreSQL that its nodes reach, and ADAPTERS_BLOBS "
            "to S3",
        )
    source = arguments["manifest"]
    manifest = load_manifest(source, profile=arguments["profile"], overrides=arguments["overrides"])
    return pack(source, manifest)


@contextlib.contextmanager
def stored(registry: Registry, packed: Packed) -> Iterator[None]:
    """Store what goes along, and keep it while the block lasts: from then on the job keeps it."""
    database = registry.database
    lease = holding.hold(
        database,
        registry.blobs,
        "build",
        packed.sources,
        holder=f"{socket.gethostname()}:{os.getpid()}",
        seconds=_UPLOAD_S,
    )
    try:
        yield
    finally:
        with database.write() as connection:
            leases.end(connection, lease)
