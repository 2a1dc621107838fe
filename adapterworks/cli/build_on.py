"""`adapters build --on`: a build on another machine, told of as it goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.manifests.errors import InvalidInput, Refused

if TYPE_CHECKING:
    from adapterworks.workers.executors.executor import Resources


def resources(gpus: int, cpus: int | None, memory: str | None, hours: float | None) -> Resources:
    """The options as values.

    Raises:
        InvalidInput: `--memory` is no size.
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError

    from adapterworks.workers.executors.executor import Resources

    try:
        size = None if memory is None else int(TypeAdapter(ByteSize).validate_python(memory))
    except ValidationError as error:
        raise InvalidInput(
            f"`--memory {memory}` is no size", hint="as `16GB` or `800MB`"
        ) from error
    return Resources(gpus, cpus, size, None if hours is None else round(hours * 3600))


def build_on(
    app: App,
    on: str,
    asked: Mapping[str, Any],
    needs: Resources,
    *,
    priority: int,
    detach: bool,
    as_json: bool,
) -> None:
    """Have it built; print the job (with `detach`), or what it came to.

    Raises:
        Refused: the build failed, with why.
    """
    from adapterworks.cli.jobs import job_json
    from adapterworks.cli.printing import echo_json
    from adapterworks.workers.elsewhere import begin, follow
    from adapterworks.workers.executors.open import open_executor
    from adapterworks.workers.executors.where import parse_where

    where = parse_where(on)
    executor = open_executor(where, app.settings.home)
    begun = begin(app, where, executor, asked, resources=needs, priority=priority)
    job = begun.job
    if not detach:
        job = follow(app, executor, begun, lambda line: click.echo(f"build: {line}", err=True))
    if as_json:
        echo_json({**job_json(job), "task": begun.task})
    elif detach:
        click.echo(job.id)
        click.echo(f"`adapters jobs logs {job.id} --follow` shows how it goes", err=True)
    elif job.state == "succeeded":
        click.echo(f"{job.result['ref']}  {job.result['digest']}")
    if not detach and job.state != "succeeded":
        raise Refused(f"the job was {job.state}" + f": {job.message}" * bool(job.message))
