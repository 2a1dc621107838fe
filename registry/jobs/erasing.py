"""Erasing what a tenant gave to jobs and got from them: texts of lines and graders, files, uploads.

Invariant: afterwards the index has no text of the tenant's lines, none of the graders and trackers
of its jobs that have ended, and no name of a file of its; the bytes of its files are nobody's, and
go with the next gc. A job that somebody runs is asked to end: until it has, its results may still
arrive, and doing it again finishes that.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs import queue, schema
from adapterworks.registry.jobs.states import ENDED
from adapterworks.registry.jobs.uploads import CANCELLED, PENDING
from adapterworks.registry.lifecycle import leases

_files, _uploads, _parts = schema.files, schema.uploads, schema.parts
_jobs, _lines = schema.jobs, schema.lines
# Arguments of jobs that hold a tenant's own texts → what they are without them.
_TEXTS: dict[str, Any] = {"grader": None, "asked_grader": None, "integrations": []}


@dataclass(frozen=True, slots=True)
class Holding:
    """What there is of a tenant.

    Attributes:
        lines: of batches, whose answers are in the index.
        files: that live, those of results too.
        uploads: that are not a file yet.
        running: jobs that have not ended, since somebody runs them or is to list their answers.
    """

    lines: int
    files: int
    uploads: int
    running: int


def holding(connection: Connection, tenant: str) -> Holding:
    """What an erasure would remove."""

    def count(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
        query = sa.select(sa.func.count()).select_from(table).where(*conditions)
        return int(connection.scalar(query) or 0)

    return Holding(
        count(_lines, _lines.c.job.in_(_of(tenant)), _lines.c.output != ""),
        count(_files, _files.c.tenant == tenant, _files.c.deleted.is_(None)),
        count(_uploads, _uploads.c.tenant == tenant, _uploads.c.state == PENDING),
        _open(connection, tenant),
    )


def erase(database: Database, tenant: str, now: float) -> Holding:
    """Erase everything of a tenant; returns what there was, and how many jobs have yet to end.

    Raises:
        Unavailable: the index.
    """
    schema.migrate(database)
    with database.write() as connection:
        found = holding(connection, tenant)
        # Before its jobs are cancelled: of one without answers there is nothing to list.
        connection.execute(sa.update(_lines).where(_lines.c.job.in_(_of(tenant))).values(output=""))
        open_jobs = sa.select(_jobs.c.id).where(
            _jobs.c.tenant == tenant, _jobs.c.state.not_in(ENDED)
        )
        for job in connection.scalars(open_jobs).all():
            queue.cancel(connection, job, now=now)
        uploads = sa.select(_uploads.c.id).where(_uploads.c.tenant == tenant)
        held = [
            *connection.scalars(sa.select(_files.c.lease).where(_files.c.tenant == tenant)),
            *connection.scalars(sa.select(_parts.c.lease).where(_parts.c.upload.in_(uploads))),
        ]
        for lease in held:
            leases.end(connection, lease)
        connection.execute(
            sa.update(_files)
            .where(_files.c.tenant == tenant)
            .values(filename="", deleted=sa.func.coalesce(_files.c.deleted, now))
        )
        pending = sa.case((_uploads.c.state == PENDING, CANCELLED), else_=_uploads.c.state)
        connection.execute(
            sa.update(_uploads)
            .where(_uploads.c.tenant == tenant)
            .values(filename="", state=pending)
        )
        _blank(connection, tenant)
        return replace(found, running=_open(connection, tenant))


def _blank(connection: Connection, tenant: str) -> None:
    """Take the tenant's own texts out of the arguments of its jobs that have ended."""
    query = sa.select(_jobs.c.id, _jobs.c.arguments)
    ended = sa.and_(_jobs.c.tenant == tenant, _jobs.c.state.in_(ENDED))
    for job, text in connection.execute(query.where(ended)).all():
        arguments = json.loads(text)
        blank = {name: empty for name, empty in _TEXTS.items() if arguments.get(name)}
        if blank:
            values = {"arguments": json.dumps({**arguments, **blank}, ensure_ascii=False)}
            connection.execute(sa.update(_jobs).where(_jobs.c.id == job).values(**values))


def _open(connection: Connection, tenant: str) -> int:
    query = sa.select(sa.func.count()).select_from(_jobs)
    still = sa.and_(_jobs.c.tenant == tenant, _jobs.c.state.not_in(ENDED))
    return int(connection.scalar(query.where(still)) or 0)


def _of(tenant: str) -> sa.Select[tuple[str]]:
    return sa.select(_jobs.c.id).where(_jobs.c.tenant == tenant)
