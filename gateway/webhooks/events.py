"""What has happened that somebody may want to be told: read from jobs and from the registry's log.

Invariant: an event has the same id whoever reads it, and whenever: it is one for ever.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.gateway.jobs.batches import status_of as status_of_batch
from adapterworks.registry.index import log
from adapterworks.registry.index.schema import log as log_table
from adapterworks.registry.jobs.job import BATCH, FINE_TUNING, Job
from adapterworks.registry.jobs.lookup import job_of
from adapterworks.registry.jobs.schema import jobs
from adapterworks.registry.jobs.states import ENDED
from adapterworks.registry.releases.types import Event

Gates = Callable[[str, int], Mapping[str, bool]]
"""(name, version) → what each gate of its build said, in words, and whether it passed."""

_MOVES = {
    **dict.fromkeys((*log.MOVES, "retire"), "alias.moved"),
    "request": "alias.requested",
    "approve": "alias.approved",
    "deny": "alias.denied",
    "alarm": "alias.alarm",
}
_KINDS = ("publish", *_MOVES)
_PAGE = 500


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """One event.

    Attributes:
        id: `evt_…`, the same for ever.
        at: when it happened, whole seconds since the epoch.
        data: JSON; jobs have only their `id`, as OpenAI's have.
    """

    id: str
    type: str
    at: int
    data: Mapping[str, Any]

    def body(self) -> str:
        """As it is sent, in the shape of OpenAI's webhook events."""
        event = {
            "id": self.id,
            "object": "event",
            "created_at": self.at,
            "type": self.type,
            "data": dict(self.data),
        }
        return json.dumps(event, ensure_ascii=False, separators=(",", ":"))


def ended_jobs(connection: Connection, since: float) -> Iterator[WebhookEvent]:
    """Jobs of tenants that ended at `since` or later; not the command line's, whose owner waits."""
    query = sa.select(jobs).where(
        jobs.c.state.in_(ENDED), jobs.c.finished >= since, jobs.c.kind.in_((FINE_TUNING, BATCH))
    )
    for row in connection.execute(query.order_by(jobs.c.sequence)):
        job = job_of(row)
        assert job.finished is not None
        yield WebhookEvent(f"evt_{job.id}", _type_of(job), int(job.finished), {"id": job.id})


def _type_of(job: Job) -> str:
    if job.kind == BATCH:
        return f"batch.{status_of_batch(job)}"
    return f"fine_tuning.job.{job.state}"


def logged(connection: Connection, after: int) -> tuple[list[Event], int]:
    """Rows of the registry's log after a sequence that may be told, and how far was read."""
    newest = connection.scalar(sa.select(sa.func.max(log_table.c.sequence))) or 0
    query = sa.select(log_table).where(
        log_table.c.sequence > after, log_table.c.kind.in_(_KINDS), log_table.c.name != ""
    )
    rows = connection.execute(query.order_by(log_table.c.sequence).limit(_PAGE)).all()
    found = [log.event_of(row) for row in rows]
    return found, found[-1].sequence if len(found) == _PAGE else max(after, newest)


def of_log(event: Event, gates: Gates) -> Iterator[WebhookEvent]:
    """What a row of the log is to be told as."""
    at = int(datetime.fromisoformat(event.at).timestamp())
    id = f"evt_log_{event.sequence}"
    about = {"name": event.name, "version": event.version, "who": event.who, "why": event.why}
    if event.kind != "publish":
        facts = {"alias": event.alias, "move": event.kind, **event.data}
        yield WebhookEvent(id, _MOVES[event.kind], at, {**about, **facts})
        return
    assert event.version is not None
    said = gates(event.name, event.version)
    failed = [why for why, passed in said.items() if not passed]
    passed = not failed if said else None
    yield WebhookEvent(id, "release.published", at, {**about, "gates_passed": passed})
    if failed:
        yield WebhookEvent(f"{id}_gates", "gates.failed", at, {**about, "failed": failed})
