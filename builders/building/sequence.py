"""The stages of one plan in their order, each done once.

    train → convert → evaluate → fingerprint → publish

Conversion comes before evaluation: the gates judge what will be served, and an approximate form is
scored beside the method's own.

Invariant: nothing is published before all of it exists.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection

from adapterworks.builders.building.dataset_inputs import seal_test_rows
from adapterworks.builders.building.prepared import Prepared
from adapterworks.builders.building.record import Stages
from adapterworks.builders.building.result import BuildResult, why_not
from adapterworks.builders.building.stages import (
    convert_stage,
    evaluate_again_stage,
    evaluate_stage,
    fingerprint_stage,
    prod_digest,
    require_comparable,
    train_stage,
)
from adapterworks.builders.engines.choice import Engines
from adapterworks.builders.plan.sent import sent
from adapterworks.builders.publishing.adapter_lock import make_lock
from adapterworks.builders.publishing.folder import assemble, make_draft, parents_of
from adapterworks.builders.training.events import EventLog
from adapterworks.manifests.errors import NotFound
from adapterworks.registry.bases.store import BaseStore
from adapterworks.registry.datasets.graph import graph
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Parent, Servable

Say = Callable[[str], None]


@dataclass(frozen=True)
class Given:
    """What `run_build` was given that its stages use.

    Attributes:
        cards: the GPUs that were reserved for the training, as CUDA calls them.
    """

    registry: Registry
    bases: BaseStore
    engines: Engines
    who: str
    alias: str | None
    hold_alias: bool
    say: Say
    guard: Callable[[Connection], object] | None
    cache: Path
    cards: tuple[str, ...] = ()


def run_stages(
    prepared: Prepared,
    stages: Stages,
    events: EventLog,
    lock: int,
    given: Given,
) -> BuildResult:
    """Do what is left of a plan, and name its release.

    Args:
        lock: of the build's folder, which the training holds too.

    Raises:
        Refused: the training diverged, or what the guard raised.
    """
    registry = given.registry
    plan, folder, digests = prepared.plan, stages.folder, prepared.plan.digests
    since = stages.since(lambda: _newest(registry, plan.manifest.adapter.name))
    events.emit("plan", digest=plan.digest, steps=plan.steps, trainable=plan.trainable)
    if stages.result("evaluate", digests.evaluate) is None:
        prod = prod_digest(plan.manifest, registry)
        require_comparable(prepared, registry, given.bases, prod)
        for line in sent(plan.manifest, plan.rows):
            given.say(line)
    training = stages.once(
        "train", digests.train, lambda: _trained(prepared, folder, lock, events, given)
    )
    # Only now: a training that is not recorded goes on from them.
    shutil.rmtree(folder / "train" / "checkpoints", ignore_errors=True)
    conversion = stages.once("convert", digests.convert, lambda: convert_stage(prepared, folder))
    servable = Servable(**conversion["servable"]) if conversion["servable"] else None
    evaluation = _evaluation(prepared, stages, servable, events, given)
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
    reasons = why_not(report, conversion)
    target = None if given.hold_alias else given.alias or plan.manifest.publish.alias
    alias = None if reasons else target
    reused = _reused(stages)

    def publish() -> dict[str, Any]:
        evaluated = {**evaluation, "report": report}
        return _publish(prepared, stages, servable, evaluated, reasons, alias, reused, since, given)

    published = stages.once("publish", digests.publish, publish)
    if (why := stages.close()) is not None:
        given.say(f"note: files of this build are left in `{folder}`: {why}")
    kept = published.get("kept", "")  # a build that an earlier version began has none
    return BuildResult(
        ref=f"{published['name']}@{published['version']}",
        digest=published["digest"],
        created=True,
        alias=None if kept else alias,
        reasons=reasons,
        kept=kept,
        plan=plan,
        servable=servable,
        report=report,
        folder=folder,
        reused={name: source["ref"] for name, source in reused.items()},
    )


def _newest(registry: Registry, name: str) -> int:
    try:
        return registry.log.events(name, limit=1)[0].sequence
    except NotFound:
        return 0  # nothing of that name yet


def _trained(
    prepared: Prepared, folder: Path, lock: int, events: EventLog, given: Given
) -> dict[str, Any]:
    """The report's `training`: the stage's result beside what the plan predicted."""
    training = train_stage(prepared, folder, lock, events, given.engines, cards=given.cards)
    planned = prepared.plan.memory
    # An engine beside the training is a process of its own, whose memory nobody measures.
    predicted = planned["total"] - planned.get("engine", 0)
    return {**training, "memory": {"predicted": predicted, "measured": training["peak_memory"]}}


def _evaluation(
    prepared: Prepared,
    stages: Stages,
    servable: Servable | None,
    events: EventLog,
    given: Given,
) -> dict[str, Any]:
    """What the gates judge; where only the judging has changed, the answers are not asked anew."""
    folder, registry = stages.folder, given.registry
    plan, digests = prepared.plan, prepared.plan.digests

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
    return stages.once("evaluate", digests.evaluate, evaluate)


def _publish(
    prepared: Prepared,
    stages: Stages,
    servable: Servable | None,
    evaluation: dict[str, Any],
    reasons: tuple[str, ...],
    alias: str | None,
    reused: Mapping[str, Mapping[str, str]],
    since: int,
    given: Given,
) -> dict[str, Any]:
    """The release, in the registry; its test rows are sealed first.

    Args:
        evaluation: its `report` with what the other stages came to.
        reasons: why the alias does not move, if it does not.
        alias: moved to the release; None moves none.
        reused: stage → the release that it was taken from, as `_reused` says.
        since: of the registry's log, when the build began: who moved the alias later is heeded.
    """
    registry, plan = given.registry, prepared.plan
    weights = reused.get("train")
    seal_test_rows(registry, prepared.rows["test"], plan)
    release = assemble(
        stages.folder,
        plan,
        evaluation["report"],
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
        lineage=graph(registry, plan.manifest.adapter.name, parents_of(plan)),
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
        alias=alias,
        who=given.who,
        why=f"built from plan {plan.digest[:19]}",
        since=since,
        guard=given.guard,
    )
    return {
        "name": plan.manifest.adapter.name,
        "version": published.version,
        "digest": published.digest,
        "kept": published.kept,
    }


def _reused(stages: Stages) -> dict[str, dict[str, str]]:
    """The release that each reused stage was taken from, by the stage's name."""
    return {
        name: source
        for name in ("train", "convert", "ask", "evaluate")
        if (source := stages.reused(name)) is not None
    }
