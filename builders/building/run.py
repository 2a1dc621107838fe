"""A build: the stages of a plan in order, each done once, resumable after any kill.

    plan → train → convert → evaluate → fingerprint → publish

Conversion comes before evaluation: the gates judge what will be served, and an approximate form is
scored beside the method's own.

Invariant: nothing is published before all of it exists; an unchanged plan names its release; a
stage that a release has with the digest of this plan's is taken from there (`reuse.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection

from adapterworks.builders.building import reuse
from adapterworks.builders.building.lock import build_lock
from adapterworks.builders.building.prepare import Prepared, prepare
from adapterworks.builders.building.record import Stages, left_behind, start_over, unfinished
from adapterworks.builders.building.shelf import seal_test_rows
from adapterworks.builders.building.stages import (
    convert_stage,
    evaluate_again_stage,
    evaluate_stage,
    fingerprint_stage,
    prod_digest,
    train_stage,
)
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.plan.disk import require_disk
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.publishing.adapter_lock import make_lock
from adapterworks.builders.publishing.folder import assemble, make_draft
from adapterworks.builders.training.events import EventLog, Listener
from adapterworks.manifests.errors import NotFound, Refused
from adapterworks.manifests.models import Manifest
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Parent, Servable
from adapterworks.registry.releases.types import Resolved

Say = Callable[[str], None]
# Why no alias moves to a release whose report was erased or is withheld.
UNTOLD = "whether its gates passed is not known: its `report.json` is not here"


@dataclass(frozen=True)
class BuildResult:
    """What a build came to.

    Attributes:
        ref: `NAME@VERSION`.
        digest: of the release.
        created: False when an unchanged plan named an existing release.
        alias: the alias that moved, if it did.
        reasons: why it did not, one line each.
        report: the release's `report.json`; empty if that is not here any more.
        folder: the build directory.
        reused: stage → the release that it was taken from (`train`, `convert`, `evaluate`, …).
        before: what the manifest's stage before came to, of several.
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
    reused: Mapping[str, str] = field(default_factory=dict)
    before: BuildResult | None = None


def run_build(
    manifest: Manifest,
    *,
    registry: Registry,
    bases: BaseStore,
    home: Path,
    who: str,
    alias: str | None = None,
    hold_alias: bool = False,
    resume: bool = False,
    force: bool = False,
    guard: Callable[[Connection], object] | None = None,
    engines: Engines | None = None,
    listeners: Sequence[Listener] = (),
    progress: Callable[[str], None] | None = None,
) -> BuildResult:
    """Build a manifest, stage after stage, or name the release its unchanged plan gave.

    Args:
        manifest: resolved.
        registry: where it is published.
        bases: where base models are.
        home: `builds/` and `cache/` are made under it.
        who: publishes, for the registry's log.
        alias: moved instead of `publish.alias`.
        hold_alias: publish and move none: whoever asks has yet to judge the release.
        resume: refuse to begin anew; without it an unfinished build is resumed when there is one.
        force: build even if the plan has a release, and begin anew.
        guard: asked in the transaction that lists the release; what it raises ends the build there.
        engines: who answers the test rows; the reference implementation alone, if not given.
        listeners: receive the build's events.
        progress: told what takes long before the build begins, and which engine is asked.

    Raises:
        Conflict: the plan is being built by another process.
        NotFound: nothing to resume.
        Refused: the plan cannot run here, the training diverged, the alias is protected, a gateway
            is to evaluate what is not published yet, or a stage before the last one did not pass.
        InvalidInput: the data or a combination is faulty.
    """
    engines = engines or Engines()
    for stage in manifest.chain:
        engines.check_build(stage.evaluate.engine)
    each = partial(
        _run_one,
        registry=registry,
        bases=bases,
        home=home,
        who=who,
        force=force,
        guard=guard,
        engines=engines,
        listeners=listeners,
        progress=progress,
    )
    before: BuildResult | None = None
    for stage in manifest.chain[:-1]:
        built = each(stage, alias=stage.publish.alias, hold_alias=False, resume=resume)
        before = replace(built, before=before)
        if built.reasons:
            name = stage.stage.name if stage.stage else stage.adapter.name
            raise Refused(
                f"stage `{name}` ({built.ref}) did not pass, so the next one is not begun: "
                f"{'; '.join(built.reasons)}",
                hint=f"`adapters show {built.ref}` tells what it came to; change the stage or its "
                "gates and build again",
            )
        resume = False  # where a stage is done, what is left of the chain is its unfinished rest
    last = each(manifest, alias=alias, hold_alias=hold_alias, resume=resume)
    return replace(last, before=before)


def _run_one(
    manifest: Manifest,
    *,
    registry: Registry,
    bases: BaseStore,
    home: Path,
    who: str,
    alias: str | None,
    hold_alias: bool,
    resume: bool,
    force: bool,
    guard: Callable[[Connection], object] | None,
    engines: Engines,
    listeners: Sequence[Listener],
    progress: Callable[[str], None] | None,
) -> BuildResult:
    """Build one manifest, which begins where the stage before ended, if there is one."""
    if manifest.stage is not None and progress is not None:
        progress(
            f"stage `{manifest.stage.name}`, {manifest.stage.index + 1} of {manifest.stage.count}"
        )
    prepared = prepare(manifest, bases, registry=registry, cache=home / "cache", progress=progress)
    plan, say = prepared.plan, progress or _silent
    folder = home / "builds" / f"{manifest.adapter.name}-{plan.digests.train[7:19]}"
    if (
        not force
        and (existing := registry.origins.find_plan(manifest.adapter.name, plan.digest)) is not None
    ):
        return _named(registry, existing, plan, folder, alias, who)
    require_disk(plan, folder)
    moved = None if hold_alias else alias or manifest.publish.alias
    registry.protection.require_movable(manifest.adapter.name, moved)
    with build_lock(folder) as lock:
        # Once more, as another process may have built it while this one prepared or waited.
        if (
            not force
            and (existing := registry.origins.find_plan(manifest.adapter.name, plan.digest))
            is not None
        ):
            return _named(registry, existing, plan, folder, alias, who)
        left = [
            f"the half-done build in `{other}` was begun by {what} and cannot go on"
            for other, what in ([] if unfinished(folder) else left_behind(folder.parent, plan))
        ]
        if resume and not unfinished(folder):
            raise _nothing_to_resume(plan, left)
        for line in left:
            end = "this build starts anew; without the folder nothing more is said of it"
            say(f"note: {line}; {end}")
        if force or not unfinished(folder):
            start_over(folder)
        stages = Stages(folder, plan, EventLog(folder / "events.jsonl"))
        known = None if force or stages.has_training else reuse.find_known(registry, plan)
        if known is not None:
            prod = prod_digest(manifest, registry)
            reuse.take(known, stages, registry, prod)
            for line in reuse.sentences(known, plan, prod):
                say(line)
        elif not force and not stages.has_training and (why := reuse.bereft(registry, plan)):
            say(f"note: {why}; it is trained once more")
        elif (
            not left
            and not stages.has_training
            and (old := reuse.published_before_digests(registry, plan))
        ):
            say(
                f"note: {old} was published by a version of adapterworks that kept one digest for "
                "all stages; its weights cannot be told from others, so it is trained once more"
            )
        # The log is opened anew: a reused training brought its own events.
        events = EventLog(folder / "events.jsonl", *listeners)
        stages.tell(events)
        # Micro batch and estimates may differ with the memory free now; the first plan holds.
        prepared = replace(prepared, plan=stages.plan)
        given = _Given(registry, bases, engines, who, alias, hold_alias, say, guard, home / "cache")
        parents = [parent.digest for parent in plan.origins.parents]
        read = {d for d in (*parents, prod_digest(manifest, registry)) if d is not None}
        with registry.hold(*read, kind="build") if read else nullcontext():
            return _run(prepared, stages, events, lock, given)


@dataclass(frozen=True)
class _Given:
    """What `run_build` was given that its stages use."""

    registry: Registry
    bases: BaseStore
    engines: Engines
    who: str
    alias: str | None
    hold_alias: bool
    say: Say
    guard: Callable[[Connection], object] | None
    cache: Path


def _silent(line: str) -> None:
    """Nobody listens."""


def _named(
    registry: Registry, existing: Resolved, plan: Plan, folder: Path, alias: str | None, who: str
) -> BuildResult:
    """The release that an unchanged plan has; an alias that is asked for moves to it, if it may."""
    told = registry.read_if_here(existing.digest, "report.json")
    report = {} if told is None else json.loads(told)
    release = registry.release(existing.digest)
    reasons = _reasons(report, report["conversion"]) if told is not None else (UNTOLD,)
    if alias is not None and not reasons and not _holds(registry, existing, alias):
        registry.promote(existing.name, existing.version, alias, who=who, why="built before")
    return BuildResult(
        f"{existing.name}@{existing.version}",
        existing.digest,
        False,
        None if reasons else alias,
        reasons if alias is not None else (),
        plan,
        release.servable,
        report,
        folder,
    )


def _holds(registry: Registry, existing: Resolved, alias: str) -> bool:
    try:
        return registry.resolve(f"{existing.name}:{alias}").version == existing.version
    except NotFound:
        return False


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
    given: _Given,
) -> BuildResult:
    """The stages."""
    registry = given.registry
    plan, folder, digests = prepared.plan, stages.folder, prepared.plan.digests
    events.emit("plan", digest=plan.digest, steps=plan.steps, trainable=plan.trainable)
    training = stages.once(
        "train", digests.train, lambda: _trained(prepared, folder, lock, events, given)
    )
    conversion = stages.once("convert", digests.convert, lambda: convert_stage(prepared, folder))
    servable = Servable(**conversion["servable"]) if conversion["servable"] else None

    def evaluate() -> dict[str, Any]:
        asked = stages.result("ask", digests.ask)
        again = asked and evaluate_again_stage(prepared, folder, asked, registry)
        return again or evaluate_stage(
            prepared,
            folder,
            servable,
            registry,
            given.bases,
            given.engines,
            events,
            given.say,
            given.cache,
        )

    # `prod` is in no digest, so that its moves republish nothing; an unfinished build's gates must
    # still be judged by the one that it is published beside.
    judged, prod = stages.result("evaluate", digests.evaluate), prod_digest(plan.manifest, registry)
    if judged is not None and prod is not None and judged["prod"] != prod:
        stages.drop("evaluate")
    evaluation = stages.once("evaluate", digests.evaluate, evaluate)
    if servable is not None:
        stages.once(
            "fingerprint", digests.convert, lambda: fingerprint_stage(prepared, folder, servable)
        )
    report = {
        **evaluation["report"],
        "training": training,
        "conversion": conversion,
        "data_gates": prepared.gates.summary(),
    }
    reasons = _reasons(report, conversion)
    target = None if given.hold_alias else given.alias or plan.manifest.publish.alias
    reused = {
        name: source
        for name in ("train", "convert", "ask", "evaluate")
        if (source := stages.reused(name)) is not None
    }
    weights = reused.get("train")

    def publish() -> dict[str, Any]:
        seal_test_rows(registry, prepared.rows["test"], plan)
        release = assemble(
            folder,
            plan,
            report,
            servable,
            sources=prepared.sources,
            lock=make_lock(
                plan,
                prepared.sources,
                stages.python,
                reused=reused,
                prod=evaluation["prod"],
            ),
            reasons=reasons,
            created=stages.created,
            weights_from=weights["ref"] if weights else None,
        )
        draft = make_draft(
            plan,
            servable,
            evaluation["values"],
            created=stages.created,
            python=stages.python,
            weights=Parent(relation="weights", **weights) if weights else None,
        )
        published = registry.publish(
            release,
            draft,
            alias=None if reasons else target,
            who=given.who,
            why=f"built from plan {plan.digest[:19]}",
            guard=given.guard,
        )
        return {
            "name": plan.manifest.adapter.name,
            "version": published.version,
            "digest": published.digest,
        }

    published = stages.once("publish", digests.publish, publish)
    stages.close()
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
        reused={name: source["ref"] for name, source in reused.items()},
    )


def _trained(
    prepared: Prepared, folder: Path, lock: int, events: EventLog, given: _Given
) -> dict[str, Any]:
    """The report's `training`: the stage's result beside what the plan predicted."""
    training = train_stage(prepared, folder, lock, events, given.engines)
    predicted = prepared.plan.memory["total"]
    return {**training, "memory": {"predicted": predicted, "measured": training["peak_memory"]}}


def _reasons(report: Mapping[str, Any], conversion: Mapping[str, Any]) -> tuple[str, ...]:
    """Why the alias must not move."""
    failed = [gate["why"] for gate in report.get("gates", []) if not gate["passed"]]
    return (*failed, *([conversion["refused"]] if conversion["refused"] else []))
