"""`adapters build --on`: a build on another machine, told of as it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from adapterworks.app import App
from adapterworks.manifests.errors import InvalidInput, Refused

if TYPE_CHECKING:
    from adapterworks.builders.plan.resources import Needs
    from adapterworks.manifests.models import Manifest
    from adapterworks.workers.executors.executor import Resources

_AMPLE = 1 << 40


def resources(
    app: App,
    manifest: Manifest,
    *,
    gpus: int | None,
    cpus: int | None,
    memory: str | None,
    hours: float | None,
) -> Resources:
    """What is asked of the place: the options, else `[resources]`, else the plan.

    Raises:
        InvalidInput: `--memory` is no size, or `[resources]` contradicts the plan.
        Refused: the plan needs more.
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError

    from adapterworks.builders.plan.resources import declared
    from adapterworks.workers.executors.executor import Resources

    try:
        size = None if memory is None else int(TypeAdapter(ByteSize).validate_python(memory))
    except ValidationError as error:
        raise InvalidInput(
            f"`--memory {memory}` is no size", hint="as `16GB` or `800MB`"
        ) from error
    said = declared(manifest)
    asked = Resources(
        said.gpus if gpus is None else gpus,
        cpus,
        said.memory if size is None else size,
        said.seconds if hours is None else round(hours * 3600),
    )
    if asked.memory is None and (planned := _planned(app, manifest, asked.gpus)) is not None:
        asked = replace(asked, memory=planned.memory)
    return asked


def _planned(app: App, manifest: Manifest, gpus: int) -> Needs | None:
    """What the plan says for such a machine; None where no plan can be made here at once."""
    from adapterworks.extras import MissingExtra, require
    from adapterworks.manifests.paths import base_model

    try:
        require("build", "a plan")
    except MissingExtra:
        return None
    base = manifest.base
    known = base.chat_template is None and app.bases.prepared(
        base_model(manifest),
        quantization=base.quantization,
        double_quantization=base.double_quantization,
    )
    if not known or manifest.stage is not None:
        app.note("the base is not prepared here: memory is what the place gives, or `--memory`")
        return None
    from adapterworks.builders.building.prepare import prepare
    from adapterworks.builders.plan.machine import detect_machine

    # Not this machine's: as much as the training can use.
    there = detect_machine().of_kind("cuda" if gpus else "cpu", _AMPLE)
    prepared = prepare(
        manifest,
        app.bases,
        registry=app.registry,
        cache=app.settings.home / "cache",
        machine=replace(there, cards=max(1, gpus)),
    )
    return prepared.plan.needs


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
    from adapterworks.cli.jobs_shown import job_json
    from adapterworks.cli.printing import echo_json
    from adapterworks.workers.executors.open import open_executor
    from adapterworks.workers.executors.where import parse_where
    from adapterworks.workers.remote import begin, follow

    where = parse_where(on)
    executor = open_executor(where, app.settings)
    begun = begin(app, where, executor, asked, resources=needs, priority=priority)
    job = begun.job
    if not detach:
        try:
            job = follow(app, executor, begun, lambda line: app.note(f"build: {line}"))
        except KeyboardInterrupt:
            app.note(
                f"{job.id} goes on at {where}: `adapters jobs logs {job.id} --follow` shows how, "
                f"`adapters jobs cancel {job.id}` ends it"
            )
            raise
    if as_json:
        echo_json({**job_json(job), "task": begun.task})
    elif detach:
        click.echo(job.id)
        app.note(f"`adapters jobs logs {job.id} --follow` shows how it goes")
    elif job.state == "succeeded":
        click.echo(f"{job.result['ref']}  {job.result['digest']}")
    if not detach and job.state != "succeeded":
        raise Refused(f"the job was {job.state}" + f": {job.message}" * bool(job.message))
