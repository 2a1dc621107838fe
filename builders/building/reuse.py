"""Stages that a release has already: taken from the registry instead of done again.

Invariant: only what has the digest that this plan's stage has is taken, verified as every read of a
release is; what is published from it is a version of its own, whose lock and record name the
release that the weights are from.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapterworks.builders.building.record import Stages
from adapterworks.builders.plan.digests import decision, leaves
from adapterworks.builders.plan.plan import Plan
from adapterworks.manifests.errors import NotFound
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.paths import by_file_name
from adapterworks.registry.reading.diff import LOCK
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Release

REPORT, LOG, ANSWERS = "report.json", "training.jsonl", "predictions.jsonl"
# What `report.json` says of other stages than the evaluation.
OTHER_STAGES = ("training", "conversion", "data_gates")


@dataclass(frozen=True)
class Known:
    """A release with this plan's training, and what else of it can be used.

    Attributes:
        digests: of its stages, by name.
        lock: its `adapter.lock`.
    """

    ref: str
    release: Release
    lock: Mapping[str, Any]
    digests: Mapping[str, str]

    @property
    def source(self) -> dict[str, str]:
        """As a record names it."""
        return {"ref": self.ref, "digest": self.release.digest}


def find_known(registry: Registry, plan: Plan) -> Known | None:
    """The release that was built here with most of this plan's stages, the newest of several; None
    without its training."""
    # A stage's digest covers the stages before it, so the last that is found has them all.
    for stage, digest in reversed(plan.digests.to_json().items()):
        found = registry.find_stage(stage, digest)
        if found is not None and usable(registry, found.digest):
            release = registry.release(found.digest)
            lock = json.loads(registry.read(found.digest, LOCK))
            return Known(f"{found.name}@{found.version}", release, lock, release.digests)
    return None


def usable(registry: Registry, digest: str) -> bool:
    """Whether the bytes are here that a release was trained to and tells of its training."""
    release = registry.release(digest)
    absent = registry.absences(digest)
    needed = {LOCK, REPORT, LOG}
    return needed <= release.files.keys() - absent.keys() and not any(
        path.startswith(f"{release.trained}/") for path in absent
    )


def published_before_digests(registry: Registry, plan: Plan) -> str | None:
    """The plan's newest release, if it was published when a plan had one digest for everything: its
    weights cannot be told from others, so it is trained once more."""
    try:
        rows = registry.versions(plan.manifest.adapter.name, limit=1)
    except NotFound:
        return None
    if not rows:
        return None
    newest = registry.release(rows[0].digest)
    here = (newest.base.digest, newest.method) == (plan.base.digest, plan.manifest.method.kind)
    old = here and newest.plan is not None and not newest.digests
    return f"{rows[0].name}@{rows[0].version}" if old else None


def take(known: Known, stages: Stages, registry: Registry, prod: str | None) -> None:
    """Put what the release has of this plan into the build directory and its record.

    Args:
        prod: the release that the plan's gates compare with now, if any does: an evaluation against
            another one is not taken.
    """
    folder, digests = stages.folder, stages.plan.digests
    digest, source = known.release.digest, known.source
    report = json.loads(registry.read(digest, REPORT))
    _copy(registry.checkout(digest, known.release.trained), folder / "train" / "adapter")
    (folder / "events.jsonl").write_bytes(registry.read(digest, LOG))
    trained = ("code", "packages", "micro_batch")
    stages.use(stages.plan.model_copy(update={key: known.lock[key] for key in trained}))
    stages.put("train", digests.train, report["training"], reused=source)
    if known.digests.get("convert") == digests.convert:
        if report["conversion"]["servable"]:
            _copy(registry.checkout(digest, "servable"), folder / "servable")
            fingerprint = registry.read(digest, "fingerprint.json")
            (folder / "fingerprint.json").write_bytes(fingerprint)
            probes = {"probes": len(json.loads(fingerprint)["probes"])}
            stages.put("fingerprint", digests.convert, probes, reused=source)
        stages.put("convert", digests.convert, report["conversion"], reused=source)
    here = known.release.files.keys() - registry.absences(digest).keys()
    if known.digests.get("ask") == digests.ask and ANSWERS in here:
        predictions = registry.read(digest, ANSWERS)
        (folder / ANSWERS).write_bytes(predictions)
        asked = {
            "report": {key: value for key, value in report.items() if key not in OTHER_STAGES},
            "values": dict(known.release.metrics),
            "prod": known.lock.get("prod"),
        }
        stages.put("ask", digests.ask, asked, reused=source)
        if known.digests.get("evaluate") == digests.evaluate and prod in (None, asked["prod"]):
            stages.put("evaluate", digests.evaluate, asked, reused=source)


def sentences(known: Known, plan: Plan) -> list[str]:
    """What is reused and what is done again, a line each, with why."""
    shared = {
        stage
        for stage, digest in plan.digests.to_json().items()
        if known.digests.get(stage) == digest
    }
    lines = [f"training: reused from {known.ref} (train digest {plan.digests.train[:19]}…)"]
    for stage, title in (("convert", "conversion"), ("ask", "answers"), ("evaluate", "evaluation")):
        if stage in shared:
            lines.append(f"{title}: reused from {known.ref}")
        else:
            why = ", ".join(changed(known, plan, stage)) or "its code"
            lines.append(f"{title}: done again, since this changed: {why}")
            break
    return lines


def changed(known: Known, plan: Plan, stage: str) -> list[str]:
    """The manifest's keys and the metrics' files that make a stage differ from the release's."""
    before = Manifest.model_validate_json(json.dumps(known.release.manifest))
    old, new = _leaves(before), _leaves(plan.manifest)
    keys = [k for k in {**old, **new} if decision(k) == stage and old.get(k) != new.get(k)]
    found = [f"`{key}`" for key in keys]
    if stage == "evaluate":
        code = known.lock.get("metrics", {})
        found += [
            f"the code of metric `{name}`"
            for name, digest in plan.metrics.items()
            if code.get(name, digest) != digest
        ]
    if stage == "ask" and known.lock.get("asked") != plan.asked:
        found.append("the test rows")
    return found


def _leaves(manifest: Manifest) -> dict[str, Any]:
    return dict(leaves(by_file_name(manifest).model_dump(mode="json")))


def _copy(source: Path, target: Path) -> None:
    """A checkout's files, writable: a checkout itself is read-only."""
    shutil.rmtree(target, ignore_errors=True)
    for path in source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
