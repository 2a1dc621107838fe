"""Batches in OpenAI's words: what is asked, within bounds, and what is answered."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from adapterworks.gateway.config.table import Table
from adapterworks.gateway.files.objects import ExpiresAfter
from adapterworks.gateway.jobs.objects import FileId, Metadata
from adapterworks.registry.jobs import queue, schema
from adapterworks.registry.jobs.job import Claim, Job

WINDOW_S = 86400.0
COUNTS = "counts"
"""Where the sums are in an ended batch's result."""
BROKEN = "broken"
"""Where a batch's result says how often a line's answer was broken off, by the line's number."""
_lines = schema.lines


class AskedBatch(Table):
    """`POST /v1/batches`."""

    input_file_id: FileId
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"]
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: ExpiresAfter | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """What the lines of a batch have come to so far."""

    completed: int
    failed: int
    prompt: int
    cached: int
    completion: int
    reasoning: int


def counts(connection: Connection, job: Job) -> Counts:
    """The sums over a batch's lines; of one that has ended, as its result has them."""
    if (ended := job.result.get(COUNTS)) is not None:
        return Counts(**ended)

    def total(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        return sa.func.coalesce(sa.func.sum(column), 0)

    row = connection.execute(
        sa.select(
            total(sa.case((_lines.c.failed, 0), else_=1)),
            total(sa.case((_lines.c.failed, 1), else_=0)),
            total(_lines.c.prompt_tokens),
            total(_lines.c.cached_tokens),
            total(_lines.c.completion_tokens),
            total(_lines.c.reasoning_tokens),
        ).where(_lines.c.job == job.id)
    ).one()
    return Counts(*(int(value) for value in row))


def batch_object(job: Job, found: Counts) -> dict[str, Any]:
    """A batch as it is answered."""
    asked, result = job.arguments, job.result
    status = status_of(job)
    ended = None if job.finished is None else int(job.finished)
    return {
        "id": job.id,
        "object": "batch",
        "endpoint": asked["endpoint"],
        "model": None,
        "errors": {"object": "list", "data": [{"code": job.code, "message": job.message}]}
        if status == "failed"
        else None,
        "input_file_id": asked["file"],
        "completion_window": "24h",
        "status": status,
        "output_file_id": result.get("output_file"),
        "error_file_id": result.get("error_file"),
        "created_at": int(job.created),
        "in_progress_at": None if job.started is None else int(job.started),
        "expires_at": int(job.created + WINDOW_S),
        "finalizing_at": result.get("finalizing"),
        "completed_at": ended if status == "completed" else None,
        "failed_at": ended if status == "failed" else None,
        "expired_at": ended if status == "expired" else None,
        "cancelling_at": result.get("cancelling"),
        "cancelled_at": ended if status == "cancelled" else None,
        "request_counts": {
            "total": asked["rows"],
            "completed": found.completed,
            "failed": found.failed,
        },
        "usage": {
            "input_tokens": found.prompt,
            "input_tokens_details": {"cached_tokens": found.cached},
            "output_tokens": found.completion,
            "output_tokens_details": {"reasoning_tokens": found.reasoning},
            "total_tokens": found.prompt + found.completion,
        },
        "metadata": dict(job.labels) or None,
    }


def status_of(job: Job) -> str:
    if job.state == "succeeded":
        return "expired" if job.result.get("expired") else "completed"
    if job.state == "running":
        return "cancelling" if job.wanted == "cancel" else "in_progress"
    if job.state == "queued" and job.wanted:  # it is taken once more, for its results
        return "cancelling"
    if job.state in ("queued", "paused"):  # only whoever runs the gateway pauses one
        return "in_progress" if job.attempt else "validating"
    return job.state


def answered(connection: Connection, job: str) -> set[int]:
    """The numbers of the lines that are never asked again."""
    return set(connection.scalars(sa.select(_lines.c.line).where(_lines.c.job == job)))


def keep(connection: Connection, job: str, line: int, output: Line) -> None:
    """Keep what a line has come to."""
    connection.execute(sa.insert(_lines).values(job=job, line=line, **asdict(output)))


def broke(connection: Connection, held: Claim, line: int, times: int) -> None:
    """Keep how often a line's answer was broken off: whoever runs the batch next counts on.

    Raises:
        Lost: the batch is not the claim's any more.
    """
    known = json.loads(queue.require(connection, held).result).get(BROKEN, {})
    queue.note(connection, held, {BROKEN: {**known, str(line): times}})


@dataclass(frozen=True, slots=True)
class Line:
    """What a line has come to: a line of the output file, or of the one of errors, as JSON."""

    failed: bool
    output: str
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
