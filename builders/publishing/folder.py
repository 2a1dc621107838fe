"""Publishing: the release folder is assembled from the build's stages and given to the registry.

Invariant: the folder is a function of the stages' outputs, and the draft's time is the build's
start, so that a build which dies here and resumes publishes the same release.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapterworks.builders.methods import METHODS
from adapterworks.builders.objectives.objective import objective_of
from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.publishing.card import make_card
from adapterworks.builders.publishing.plots import draw_loss, draw_samples, draw_scores
from adapterworks.builders.publishing.provenance import write_provenance
from adapterworks.builders.training.events import read_events
from adapterworks.manifests.digests import canonical_json, digest_json
from adapterworks.manifests.paths import portable
from adapterworks.registry.datasets.owners import RECORDED
from adapterworks.registry.releases.release import (
    ADAPTER,
    FULL,
    Draft,
    Parent,
    Provenance,
    Servable,
    Stage,
)

RELEASE = "release"


def assemble(
    folder: Path,
    plan: Plan,
    report: Mapping[str, Any],
    servable: Servable | None,
    *,
    sources: list[dict[str, Any]],
    lock: Mapping[str, Any],
    reasons: tuple[str, ...],
    created: str,
    weights_from: str | None = None,
    lineage: Sequence[str] = (),
) -> Path:
    """Build `release/` in a build directory from what its stages left there.

    Args:
        folder: the build directory.
        plan: of the build.
        report: evaluation, training, memory and conversion: `report.json`.
        servable: what the engine loads, if anything.
        sources: datasheets.
        lock: `adapter.lock`.
        reasons: why the alias does not move.
        created: when the build began, RFC 3339.
        weights_from: the release that the training was taken from, if it was.
        lineage: the tree of what it was made from, for the card.
    """
    release = folder / RELEASE
    shutil.rmtree(release, ignore_errors=True)
    release.mkdir()
    trained = release / (FULL if METHODS[plan.manifest.method.kind].whole_model else ADAPTER)
    shutil.copytree(folder / "train" / "adapter", trained)
    if servable is not None:
        shutil.copytree(folder / "servable", release / "servable")
        shutil.copyfile(folder / "fingerprint.json", release / "fingerprint.json")
    if (folder / "predictions.jsonl").exists():
        shutil.copyfile(folder / "predictions.jsonl", release / "predictions.jsonl")
    events = [event for event in read_events(folder / "events.jsonl") if event["event"] != "stage"]
    lines = (json.dumps(event, ensure_ascii=False) + "\n" for event in events)
    (release / "training.jsonl").write_text("".join(lines), encoding="utf-8")
    write_json(release / "manifest.json", portable(plan.manifest).model_dump(mode="json"))
    write_json(release / "adapter.lock", lock)
    write_json(release / "report.json", report)
    objective = objective_of(plan.manifest)
    draw_loss(events, release / "plots" / "loss.png", objective.reports, objective.unit)
    draw_scores(report.get("metrics") or {}, release / "plots" / "scores.png")
    if objective.rollouts:
        draw_samples(events, release / "plots" / "samples.png")
    card = make_card(plan, report, servable, sources, reasons, weights_from, lineage)
    (release / "README.md").write_text(card, encoding="utf-8")
    write_provenance(release, plan, lock, created)  # last: it names the others
    return release


def make_draft(
    plan: Plan,
    servable: Servable | None,
    metrics: Mapping[str, float],
    *,
    created: str,
    python: str,
    weights: Parent | None = None,
) -> Draft:
    """The record's own part; who made it is the registry's to say.

    Args:
        plan: of the build.
        servable: what the engine loads, if anything.
        metrics: values of the candidate.
        created: when the build began, RFC 3339.
        python: the interpreter's version in the training.
        weights: the release that the weights were taken from, if they were.
    """
    adapter = plan.manifest.adapter
    return Draft(
        name=adapter.name,
        method=plan.manifest.method.kind,
        description=adapter.description,
        license=adapter.license,
        tags=adapter.tags,
        created=created,
        base=plan.base,
        servable=servable,
        manifest=portable(plan.manifest).model_dump(mode="json"),
        plan=plan.digest,
        digests=plan.digests.to_json(),
        parents=(*([weights] if weights else []), *parents_of(plan)),
        stage=_stage(plan),
        provenance=_provenance(plan, python),
        metrics=dict(metrics),
        withhold=plan.manifest.publish.withhold,
        details={RECORDED: plan.tenants} if plan.tenants else {},
    )


def _stage(plan: Plan) -> Stage | None:
    stage = plan.manifest.stage
    return None if stage is None else Stage(name=stage.name, index=stage.index, count=stage.count)


def parents_of(plan: Plan) -> tuple[Parent, ...]:
    """What it was made from; of a later stage, the release it begins with is the stage before."""
    stage = plan.manifest.stage
    later = stage is not None and stage.index > 0
    begun = (
        parent.model_copy(update={"relation": "stage"})
        if later and parent.relation == "start"
        else parent
        for parent in plan.parents
    )
    return (*begun, *plan.datasets)


def _provenance(plan: Plan, python: str) -> Provenance:
    return Provenance(
        version=plan.code["version"],
        code=plan.code["digest"],
        packages=digest_json(plan.packages),
        python=python,
        device=plan.device,
        precision=plan.precision,
        objective=plan.objective,
        seed=plan.manifest.train.seed,
        data=plan.data_digests,
    )


def write_json(path: Path, value: Any) -> None:
    """Write canonical JSON, so that equal contents have equal digests."""
    path.write_bytes(canonical_json(value) + b"\n")
