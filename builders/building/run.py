"""A build: the stages of a plan in order, each done once, resumable after any kill.

    plan → train → convert → evaluate → fingerprint → publish

Conversion comes before evaluation: the gates judge what will be served, and an approximate form is
scored beside the method's own.

Invariant: nothing is published before all of it exists; an unchanged plan names its release.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterworks.builders.building.lock import build_lock
from adapterworks.builders.building.prepare import Prepared, prepare
from adapterworks.builders.building.record import Stages, left_behind, start_over, unfinished
from adapterworks.builders.building.stages import (
    convert_stage,
    evaluate_stage,
    fingerprint_stage,
    train_stage,
)
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.publishing.adapter_lock import environment
from adapterworks.builders.publishing.folder import assemble, make_draft
from adapterworks.builders.training.events import EventLog, Listener
from adapterworks.manifests.errors import NotFound
from adapterworks.manifests.models import Manifest
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Servable


@dataclass(frozen=True)
class BuildResult:
    """What a build came to.

    Attributes:
        ref: `NAME@VERSION`.
        digest: of the release.
        created: False when an unchanged plan named an existing release.
        alias: the alias that moved, if it did.
        reasons: why it did not, one line each.
        report: the release's `report.json`.
        folder: the build directory.
    """

    ref: str
    digest: str
    created: bool
    alias: str | None
    reasons: tuple[str, ...]
    plan: Plan
    servable: Servable | None
    report: dict[str, Any]
    folder: Path


def run_build(
    manifest: Manifest,
    *,
    registry: Registry,
    bases: BaseStore,
    home: Path,
    who: str,
    alias: str | None = None,
    resume: bool = False,
    force: bool = False,
    listeners: Sequence[Listener] = (),
    progress: Callable[[str], None] | None = None,
) -> BuildResult:
    """Build a manifest, or name the release its unchanged plan gave.

    Args:
        manifest: resolved.
        registry: where it is published.
        bases: where base models are.
        home: `builds/` and `cache/` are made under it.
        who: recorded as the publisher.
        alias: moved instead of `publish.alias`.
        resume: refuse to begin anew; without it an unfinished build is resumed when there is one.
        force: build even if the plan has a release, and begin anew.
        listeners: receive the build's events.
        progress: told what takes long before the build begins.

    Raises:
        Conflict: the plan is being built by another process.
        NotFound: nothing to resume.
        Refused: the plan cannot run here, or the training diverged.
        InvalidInput: the data or a combination is faulty.
    """
    prepared = prepare(manifest, bases, cache=home / "cache", progress=progress)
    plan = prepared.plan
    folder = home / "builds" / f"{manifest.adapter.name}-{plan.digest[7:19]}"
    if not force and (existing := registry.find_plan(plan.digest)) is not None:
        report = json.loads(registry.read(existing.digest, "report.json"))
        release = registry.release(existing.digest)
        return BuildResult(
            f"{existing.name}@{existing.version}",
            existing.digest,
            False,
            None,
            (),
            plan,
            release.servable,
            report,
            folder,
        )
    with build_lock(folder) as lock:
        left = [
            f"the half-done build in `{other}` was begun by {what} and cannot go on"
            for other, what in ([] if unfinished(folder) else left_behind(folder.parent, plan))
        ]
        if resume and not unfinished(folder):
            raise _nothing_to_resume(plan, left)
        if progress is not None:
            for line in left:
                end = "this build starts anew; without the folder nothing more is said of it"
                progress(f"note: {line}; {end}")
        if force or not unfinished(folder):
            start_over(folder)
        events = EventLog(folder / "events.jsonl", *listeners)
        stages = Stages(folder, plan, events)
        # Micro batch and estimates may differ with the memory free now; the first plan holds.
        # Its manifest is this one: the file in which it is kept holds no code of the user's.
        first = stages.plan.model_copy(update={"manifest": plan.manifest})
        prepared = Prepared(**{**vars(prepared), "plan": first})
        return _run(prepared, stages, events, lock, registry, bases, who, alias)


def _nothing_to_resume(plan: Plan, left: Sequence[str]) -> NotFound:
    missing = f"there is no unfinished build of this plan (`{plan.digest[:19]}…`)"
    if left:
        hint = "run it without `--resume`: it starts anew"
    else:
        hint = (
            "a build is resumed under the same manifest, profile and `--set`; "
            "run it without `--resume`"
        )
    return NotFound("; ".join([missing, *left]), hint=hint)


def _run(
    prepared: Prepared,
    stages: Stages,
    events: EventLog,
    lock: int,
    registry: Registry,
    bases: BaseStore,
    who: str,
    alias: str | None,
) -> BuildResult:
    """The stages."""
    plan, folder = prepared.plan, stages.folder
    events.emit("plan", digest=plan.digest, steps=plan.steps, trainable=plan.trainable)
    training = stages.once("train", lambda: train_stage(prepared, folder, lock, events))
    conversion = stages.once("convert", lambda: convert_stage(prepared, folder))
    servable = Servable(**conversion["servable"]) if conversion["servable"] else None
    evaluation = stages.once(
        "evaluate",
        lambda: evaluate_stage(prepared, folder, servable, registry, bases, events),
    )
    if servable is not None:
        stages.once("fingerprint", lambda: fingerprint_stage(prepared, folder, servable))
    report = {
        **evaluation["report"],
        "training": {
            **training,
            "memory": {"predicted": plan.memory["total"], "measured": training["peak_memory"]},
        },
        "conversion": conversion,
        "data_gates": prepared.gates.summary(),
    }
    reasons = _reasons(evaluation, conversion)
    target = alias or plan.manifest.publish.alias

    def publish() -> dict[str, Any]:
        release = assemble(
            folder,
            plan,
            report,
            servable,
            sources=prepared.sources,
            python=environment().python,
            reasons=reasons,
        )
        draft = make_draft(plan, servable, evaluation["values"], created=stages.created, who=who)
        published = registry.publish(
            release,
            draft,
            alias=None if reasons else target,
            who=who,
            why=f"built from plan {plan.digest[:19]}",
        )
        return {"name": plan.manifest.adapter.name, **_published(published)}

    published = stages.once("publish", publish)
    for leftover in ("train", "servable", "release"):
        shutil.rmtree(folder / leftover, ignore_errors=True)
    return BuildResult(
        ref=f"{published['name']}@{published['version']}",
        digest=published["digest"],
        created=True,
        alias=None if reasons else target,
        reasons=reasons,
        plan=plan,
        servable=servable,
        report=report,
        folder=folder,
    )


def _published(published: Any) -> dict[str, Any]:
    return {"version": published.version, "digest": published.digest}


def _reasons(evaluation: dict[str, Any], conversion: dict[str, Any]) -> tuple[str, ...]:
    """Why the alias must not move."""
    failed = [gate["why"] for gate in evaluation["report"].get("gates", []) if not gate["passed"]]
    return (*failed, *([conversion["refused"]] if conversion["refused"] else []))
