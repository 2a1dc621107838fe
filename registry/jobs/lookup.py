"""Jobs as they are: read by whoever may, never changed here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.manifests.errors import InvalidInput, NotFound
from adapterworks.registry.index.database import AnyRow
from adapterworks.registry.jobs import schema
from adapterworks.registry.jobs.job import Job

_jobs = schema.jobs


def get(connection: Connection, job: str) -> Job:
    """A job.

    Raises:
        NotFound: there is none of that id.
    """
    return job_of(row_of(connection, job))


def of_tenant(connection: Connection, job: str, tenant: str, kind: str) -> Job:
    """A job of a tenant's own; another's looks like one that does not exist.

    Raises:
        NotFound: the tenant has none of that id and kind.
    """
    try:
        found = get(connection, job)
    except NotFound:
        found = None
    if found is None or found.tenant != tenant or found.kind != kind:
        raise missing(job)
    return found


def listed(
    connection: Connection,
    *,
    tenant: str | None = None,
    kind: str | None = None,
    states: Iterable[str] = (),
    labels: Mapping[str, str] | None = None,
    after: str | None = None,
    limit: int = 20,
) -> tuple[list[Job], bool]:
    """Jobs, newest first, and whether there are more.

    Args:
        labels: only those with all of these; an empty mapping means those without any.
        after: the id of the last one of the page before.

    Raises:
        InvalidInput: `after` is none of them.
    """
    query = sa.select(_jobs).order_by(_jobs.c.sequence.desc())
    if tenant is not None:
        query = query.where(_jobs.c.tenant == tenant)
    if kind is not None:
        query = query.where(_jobs.c.kind == kind)
    if chosen := list(states):
        query = query.where(_jobs.c.state.in_(chosen))
    if after is not None:
        last = connection.execute(sa.select(_jobs).where(_jobs.c.id == after)).first()
        if last is None or (tenant is not None and last.tenant != tenant):
            raise InvalidInput(f"`after` is no job of yours: `{after[:80]}`")
        query = query.where(_jobs.c.sequence < last.sequence)
    found: list[Job] = []
    for row in connection.execute(query):
        job = job_of(row)
        if labels is None or (labels.items() <= job.labels.items() if labels else not job.labels):
            found.append(job)
        if len(found) > limit:
            break
    return found[:limit], len(found) > limit


def missing(job: str) -> NotFound:
    """The one answer to a job that does not exist and to another tenant's."""
    return NotFound(
        f"there is no job `{job[:80]}`",
        hint="`adapters jobs list` and `GET /v1/fine_tuning/jobs` list them",
    )


def job_of(row: AnyRow) -> Job:
    """A row as a value."""
    return Job(
        sequence=row.sequence,
        id=row.id,
        kind=row.kind,
        tenant=row.tenant,
        lane=row.lane,
        priority=row.priority,
        arguments=json.loads(row.arguments),
        labels=json.loads(row.labels),
        state=row.state,
        wanted=row.wanted,
        attempt=row.attempt,
        lost=row.lost,
        holder=row.holder,
        created=row.created,
        started=row.started,
        finished=row.finished,
        result=json.loads(row.result),
        code=row.code,
        message=row.message,
        param=row.param,
    )


def row_of(connection: Connection, job: str) -> AnyRow:
    """A job's row.

    Raises:
        NotFound: there is none of that id.
    """
    row = connection.execute(sa.select(_jobs).where(_jobs.c.id == job)).first()
    if row is None:
        raise missing(job)
    return row
