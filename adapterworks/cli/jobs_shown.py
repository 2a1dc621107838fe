"""How jobs and their events look, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from adapterworks.cli import printing
from adapterworks.cli.printing import echo_json, harmless

if TYPE_CHECKING:
    from adapterworks.registry.jobs.events import Event
    from adapterworks.registry.jobs.job import Job
    from adapterworks.registry.jobs.waits import Waits


def job_json(job: Job) -> dict[str, Any]:
    """A job, for programs."""
    result = dict(job.result)
    waits = result.pop("waits", None)
    return {
        "id": job.id,
        "kind": job.kind,
        "tenant": job.tenant,
        "state": job.state,
        "waits": {**waits, "since": printing.moment(waits["since"])} if waits else None,
        "wanted": job.wanted,
        "lane": job.lane,
        "priority": job.priority,
        "attempt": job.attempt,
        "holder": job.holder,
        "created": printing.moment(job.created),
        "started": printing.moment(job.started),
        "finished": printing.moment(job.finished),
        "arguments": dict(job.arguments),
        "labels": dict(job.labels),
        "result": result,
        "code": job.code,
        "message": job.message,
    }


def echo_moved(job: Job, as_json: bool, more: str = "") -> None:
    """The state that a job has come to.

    Args:
        more: to be said after it, to people.
    """
    if as_json:
        echo_json(job_json(job))
    else:
        stops = ", its worker is asked to stop" if job.wanted else ""
        click.echo(f"{job.id}: {job.state}{stops}{more}")


def waits_said(waits: Waits) -> str:
    """What a job waits for."""
    said = f"for {waits.resource} since {printing.moment(waits.since)}: {waits.what}"
    if waits.passed:
        said += f"; {waits.passed} that came later have begun"
    return f"{said}; what comes later waits for it" if waits.first else said


def echo_event(event: Event, as_json: bool) -> None:
    """One event, as a line of its own."""
    if as_json:
        import json

        values = {"at": printing.moment(event.at), "level": event.level, "kind": event.kind}
        line = {**values, "message": event.message, "data": dict(event.data)}
        click.echo(json.dumps(line, ensure_ascii=False))
        return
    mark = "" if event.level == "info" else f"{event.level}: "
    click.echo(f"{printing.moment(event.at)}  {mark}{harmless(event.message)}")
