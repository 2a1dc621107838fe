"""Jobs are put into the queue, with the files that they are to find when they run."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import Conflict
from adapterworks.registry.blobs.store import BlobStore
from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs import lookup, schema, shares
from adapterworks.registry.jobs.job import PREFIXES, Job, NewJob
from adapterworks.registry.jobs.states import ENDED
from adapterworks.registry.lifecycle import holding, leases

TASK = "task"
"""Where a job's result says what its place calls the worker that was begun for it."""
# Longer than any job waits; the lease ends with the job.
_FILES_S = 10 * 365 * 86400.0

_jobs = schema.jobs


def put(connection: Connection, new: NewJob, *, now: float, most_queued: int | None = None) -> Job:
    """Queue a job.

    Args:
        most_queued: of the tenant's jobs that have not ended, of this kind.

    Raises:
        Conflict: the tenant has as many as it may.
    """
    if most_queued is not None:
        require_room(connection, new.tenant, new.kind, most_queued)
    shares.arrive(connection, new.tenant)
    job = f"{PREFIXES[new.kind]}-{secrets.token_hex(12)}"
    connection.execute(
        sa.insert(_jobs).values(
            id=job,
            kind=new.kind,
            tenant=new.tenant,
            lane=new.lane,
            priority=new.priority,
            cost=new.cost,
            weight=new.weight,
            most_running=new.most_running,
            arguments=json.dumps(dict(new.arguments), ensure_ascii=False),
            labels=json.dumps(dict(new.labels), ensure_ascii=False),
            state="queued",
            wanted="",
            attempt=0,
            lost=0,
            tried=0,
            holder="",
            not_before=now,
            created=now,
            result="{}",
            code="",
            message="",
            param="",
        )
    )
    return lookup.get(connection, job)


def require_room(connection: Connection, tenant: str, kind: str, most_queued: int) -> None:
    """Refuse a further job of a tenant that has as many as it may.

    Raises:
        Conflict: it has.
    """
    mine = sa.and_(_jobs.c.tenant == tenant, _jobs.c.state.not_in(ENDED), _jobs.c.kind == kind)
    waiting = connection.scalar(sa.select(sa.func.count()).where(mine)) or 0
    if waiting >= most_queued:
        raise Conflict(
            f"{waiting} jobs of yours have not ended yet, which is as many as you may have",
            hint="wait for one of them, or cancel it",
        )


def place(connection: Connection, job: str, task: str) -> None:
    """Note what a job's place calls the worker that it begins for it; nothing of an ended job."""
    row = lookup.row_of(connection, job)
    if row.state not in ENDED:
        known = {**json.loads(row.result), TASK: task}
        text = json.dumps(known, ensure_ascii=False)
        connection.execute(sa.update(_jobs).where(_jobs.c.id == job).values(result=text))


def hold_files(connection: Connection, job: str, blobs: Iterable[str]) -> str:
    """Keep the bytes of files that live now until the job has ended, whatever becomes of them.

    Returns the lease, for who lets go of them sooner.
    """
    return leases.take(connection, "job", blobs, holder=job, seconds=_FILES_S)


def put_files(
    database: Database, blobs: BlobStore, job: str, sources: Mapping[str, Path | bytes]
) -> str:
    """Put bytes, and keep them as `hold_files` does.

    Args:
        sources: digest → the bytes, or where they are.

    Raises:
        CorruptBlob: bytes do not hash to their digest; nothing is kept.
    """
    return holding.hold(database, blobs, "job", sources, holder=job, seconds=_FILES_S)
