"""What runs and what was used, of all tenants: for administrators, as `adapters jobs`, `usage`."""

from __future__ import annotations

import dataclasses
from typing import Any

from adapterworks.gateway.http.routes.pages import number
from adapterworks.gateway.http.routes.registry import bodies
from adapterworks.gateway.http.routes.registry.desk import Asked
from adapterworks.gateway.http.routes.registry.reading import MOST, USUAL
from adapterworks.gateway.metering.usage import GROUPS, usage
from adapterworks.gateway.request.errors import InvalidField
from adapterworks.registry.jobs.here import JobsHere
from adapterworks.registry.jobs.job import Job

_LONGEST_NUMBER = 15


def jobs(asked: Asked) -> dict[str, Any]:
    """A page of the jobs of everybody, the newest first."""
    found, more = _jobs(asked).listed(
        tenant=asked.query("tenant"),
        state=asked.query("state"),
        kind=asked.query("kind"),
        after=asked.query("after"),
        limit=number(asked.request, "limit", USUAL, most=MOST),
    )
    return {
        "object": "list",
        "data": [_shown(job) for job in found],
        "last_id": found[-1].id if found else None,
        "has_more": more,
    }


def job(asked: Asked) -> dict[str, Any]:
    """A job."""
    return _shown(_jobs(asked).get(asked.path("job")))


def told(asked: Asked) -> dict[str, Any]:
    """A page of what happened to a job, the oldest first; `begin` or `after` is what is known."""
    begin = asked.query("after") or asked.query("begin") or "0"
    if not (begin.isascii() and begin.isdigit() and len(begin) <= _LONGEST_NUMBER):
        raise InvalidField("`after` is not a number", param="after")
    limit, found = number(asked.request, "limit", USUAL, most=MOST), _jobs(asked)
    found.get(asked.path("job"))
    events = found.since(asked.path("job"), int(begin), limit=limit + 1)
    return {
        "object": "list",
        "data": [dataclasses.asdict(event) for event in events[:limit]],
        "last_id": str(events[:limit][-1].sequence) if events else None,
        "has_more": len(events) > limit,
    }


def pause(asked: Asked, body: bodies.Nothing) -> dict[str, Any]:
    """A job is to stop at its newest checkpoint."""
    return _shown(_jobs(asked).pause(asked.path("job")))


def resume(asked: Asked, body: bodies.Nothing) -> dict[str, Any]:
    """A paused job goes on."""
    return _shown(_jobs(asked).resume(asked.path("job")))


def cancel(asked: Asked, body: bodies.Nothing) -> dict[str, Any]:
    """A job is to end."""
    return _shown(_jobs(asked).cancel(asked.path("job")))


def used(asked: Asked) -> dict[str, Any]:
    """What metering has counted, by the groups that `by` names with commas between them."""
    named = tuple(dict.fromkeys((asked.query("by") or "day").split(",")))
    groups = tuple(group for group in GROUPS if group in named)
    if len(groups) != len(named):
        raise InvalidField(
            f"`by` names something else than {', '.join(GROUPS)}",
            param="by",
            hint="write `by=tenant,month`",
        )
    ordered = tuple(group for name in named for group in groups if group == name)
    rows = usage(
        asked.registry.database,
        by=ordered,
        tenant=asked.query("tenant"),
        since=asked.query("since"),
        until=asked.query("until"),
    )
    return {"object": "list", "data": [row.to_json() for row in rows], "has_more": False}


def _jobs(asked: Asked) -> JobsHere:
    return JobsHere(asked.registry.database)


def _shown(job: Job) -> dict[str, Any]:
    values = {field.name: getattr(job, field.name) for field in dataclasses.fields(job)}
    return {**values, **{key: dict(values[key]) for key in ("arguments", "labels", "result")}}
