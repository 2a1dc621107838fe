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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import make_url

from adapterworks.app import App
from adapterworks.manifests.errors import AdapterworksError, InvalidInput, NotFound, Unavailable
from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs import events, lookup, putting, queue, schema
from adapterworks.registry.jobs.job import DETACHED, OPERATOR, Job, NewJob
from adapterworks.registry.lifecycle import holding, leases
from adapterworks.settings import Settings
from adapterworks.workers.executors.executor import Executor, Resources, State, Task
from adapterworks.workers.executors.open import open_executor
from adapterworks.workers.executors.where import Where, parse_where

if TYPE_CHECKING:
    from adapterworks.registry.registry import Registry
    from adapterworks.workers.bundle import Packed

LANE = "on:"
_COMMAND = "from adapterworks.cli.main import main; main()"
_LOOK_S = 1.0
_PLACE_LOOK_S = 10.0
_TOLD_LINES = 20
# Longer than what goes along takes to be stored; the lease ends when the job is queued.
_UPLOAD_S = 86400.0
_SECRETS = {"password", "sslpassword"}


@dataclass(frozen=True, slots=True)
class Begun:
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
) -> Begun:
    """Queue a build and have its worker started.

    Args:
        arguments: of `detached.arguments`.

    Raises:
        Refused, Unavailable, NotFound: the place does not take it; the job is cancelled.
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
        job = queued(database, lane, arguments, {"on": str(where)}, priority=priority)
    python = sys.executable if executor.shares_files else "python"
    worker = (python, "-P", "-c", _COMMAND, "worker", "--lane", lane)
    environment = _environment(app) if executor.shares_files else public_environment(app)
    task = Task(job.id, worker, environment, Path.cwd(), resources)
    try:
        began = executor.submit(task)
    except AdapterworksError:
        _cancel(app, job.id)
        raise
    with database.write() as connection:
        events.add(connection, job.id, f"given to {where} as {began}", time.time())
    return Begun(job, began)


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


def follow(app: App, executor: Executor, begun: Begun, say: Callable[[str], None]) -> Job:
    """Say what happens until the job has ended; returns it.

    A place that does not answer is asked again: its worker goes on, and tells the registry.

    Raises:
        Unavailable: its worker ended without it, with the end of what it printed; the job is
            cancelled.
    """
    seen, looked, silent = 0, time.monotonic(), False
    while True:
        with app.registry.database.read() as connection:
            job = lookup.get(connection, begun.job.id)
            later = events.since(connection, begun.job.id, seen)
        for event in later:
            seen = event.sequence
            say(event.message)
        if job.ended:
            return job
        if time.monotonic() - looked > _PLACE_LOOK_S:
            looked = time.monotonic()
            try:
                state = executor.status(begun.task)
            except Unavailable as error:
                if not silent:
                    say(f"{error.message}; it is asked again")
                silent = True
            else:
                silent = False
                _require_a_worker(app, executor, begun, state)
        time.sleep(_LOOK_S)


def end_at_its_place(job: Job, settings: Settings) -> None:
    """Have a job's place let go of its task, which may wait there for room until it is told.

    Where files are shared a worker that begins finds nothing, and ends; so nothing is asked there.

    Raises:
        Refused, Unavailable, MissingExtra: the place does not do it, or cannot be asked.
    """
    on = str(job.labels.get("on", ""))
    if on.startswith(("ray:", "k8s:")):
        with contextlib.suppress(NotFound):  # it has gone, or was never there
            open_executor(parse_where(on), settings).cancel(job.id)


def _require_a_worker(app: App, executor: Executor, begun: Begun, state: State) -> None:
    if state in ("waiting", "running"):
        return
    with app.registry.database.read() as connection:
        if lookup.get(connection, begun.job.id).ended:  # between the two questions
            return
    _cancel(app, begun.job.id)
    try:
        said = "\n".join(executor.log(begun.task).splitlines()[-_TOLD_LINES:])
    except Unavailable as error:
        said = error.message
    raise Unavailable(
        f"the worker `{begun.task}` {state} before its job was done:\n{said or 'it said nothing'}",
        hint=None
        if executor.shares_files
        else "its nodes must reach the index and the blob store of this registry, and have their "
        "passwords in variables of their own",
    )


def _cancel(app: App, job: str) -> None:
    with app.registry.database.write() as connection:
        queue.cancel(connection, job, now=time.time())


def _environment(app: App) -> dict[str, str]:
    """What the worker must know to work in the same registry, whatever a node's own says."""
    settings = app.settings
    told = {name: value for name, value in os.environ.items() if name.startswith("ADAPTERS_")}
    return {
        **told,
        "ADAPTERS_HOME": str(settings.home),
        "ADAPTERS_DATABASE": settings.database,
        "ADAPTERS_BLOBS": settings.blobs,
        "ADAPTERS_BASES": str(settings.bases),
        "PYTHONSAFEPATH": "1",
    }


def public_environment(app: App) -> dict[str, str]:
    """What a worker must know where others can read a task's variables: nothing secret.

    Folders are the node's own, and what is secret it has from its own environment.
    """
    settings = app.settings
    told = {"ADAPTERS_USER": settings.who, "PYTHONSAFEPATH": "1"}
    if not _has_a_password(settings.database):
        told["ADAPTERS_DATABASE"] = settings.database
    return {**told, "ADAPTERS_BLOBS": settings.blobs}


def _has_a_password(database: str) -> bool:
    """Whether an index's address has one: before its host, or as a parameter of libpq's."""
    url = make_url(database)
    return url.password is not None or bool(_SECRETS & {name.lower() for name in url.query})


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
