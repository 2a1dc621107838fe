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
from adapterworks.builders.evaluation.needs import needs_of
from adapterworks.builders.evaluation.recorded import needs_of_report
from adapterworks.builders.plan.decisions import decision, leaves
from adapterworks.builders.plan.plan import Plan
from adapterworks.manifests.errors import NotFound
from adapterworks.registry.reading.diff import LOCK
from adapterworks.registry.registry import Registry
from adapterworks.registry.releases.release import Release

REPORT, LOG, ANSWERS = "report.json", "training.jsonl", "predictions.jsonl"
PROOF = "fingerprint.json"
# What `report.json` says of other stages than the evaluation.
OTHER_STAGES = ("training", "conversion", "data_gates")


@dataclass(frozen=True)
class Known:
    """A release with this plan's training, and what else of it can be used.

    Attributes:
        lock: its `adapter.lock`.
        report: its `report.json`.
        absent: its files whose bytes are not here, withheld or erased.
    """

    ref: str
    release: Release
    lock: Mapping[str, Any]
    report: Mapping[str, Any]
    absent: frozenset[str] = frozenset()

    @property
    def digests(self) -> Mapping[str, str]:
        """Of its stages, by name."""
        return self.release.digests

    def has(self, path: str) -> bool:
        """Whether a file's bytes are here."""
        return path in self.release.files and path not in self.absent

    @property
    def source(self) -> dict[str, str]:
        """As a record names it."""
        return {"ref": self.ref, "digest": self.release.digest}


def find_known(registry: Registry, plan: Plan) -> Known | None:
    """The release that was built here with most of this plan's stages, the newest of several whose
    bytes are here; None without its training."""
    # A stage's digest covers the stages before it, so the last that is found has them all.
    for stage, digest in reversed(plan.digests.to_json().items()):
        for found in registry.origins.find_stages(stage, digest):
            if missing(registry, found.digest):
                continue
            release = registry.release(found.digest)
            lock = json.loads(registry.read(found.digest, LOCK))
            report = json.loads(registry.read(found.digest, REPORT))
            return Known(
                f"{found.name}@{found.version}",
                release,
                lock,
                report,
                frozenset(registry.absences(found.digest)),
            )
    return None


def missing(registry: Registry, digest: str) -> list[str]:
    """What is not here of a release's trained bytes and of what it tells of its training with."""
    release = registry.release(digest)
    absent = registry.absences(digest)
    needed = {LOCK, REPORT, LOG} - (release.files.keys() - absent.keys())
    return sorted({*needed, *(path for path in absent if path.startswith(f"{release.trained}/"))})


def why_not_reusable(registry: Registry, plan: Plan) -> str | None:
    """Why no release lends this plan its training: the newest that has it lacks some bytes here;
    None if no release has it."""
    for found in registry.origins.find_stages("train", plan.digests.train):
        files = ", ".join(f"`{path}`" for path in missing(registry, found.digest))
        return (
            f"{found.name}@{found.version} has this training, but not {files}, erased or withheld"
        )
    return None


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


def usable(known: Known, plan: Plan, prod: str | None) -> tuple[str, ...]:
    """The stages that the release has for this plan, in order: each needs the one before it.

    Args:
        prod: the release that the plan's gates compare with now, if any does: answers of another
            one are of no use.
    """
    digests = plan.digests.to_json()
    found: list[str] = []
    for stage in ("train", "convert", "ask", "evaluate"):
        if known.digests.get(stage) != digests[stage]:
            break
        if stage == "convert" and any(p.startswith(("servable/", PROOF)) for p in known.absent):
            break
        if stage == "ask" and _missing_answers(known, plan, prod):
            break
        found.append(stage)
    return tuple(found)


def take(known: Known, stages: Stages, registry: Registry, prod: str | None) -> None:
    """Put what the release has of this plan into the build directory and its record; see `usable`
    for `prod`."""
    folder, digests = stages.folder, stages.plan.digests
    digest, source, have = known.release.digest, known.source, usable(known, stages.plan, prod)
    _copy(registry.checkout(digest, known.release.trained), folder / "train" / "adapter")
    (folder / "events.jsonl").write_bytes(registry.read(digest, LOG))
    trained = ("code", "packages", "micro_batch")
    plan = stages.plan.model_copy(update={key: known.lock[key] for key in trained})
    stages.use(plan, known.lock["python"])
    stages.put("train", digests.train, known.report["training"], reused=source)
    if "convert" in have:
        if known.report["conversion"]["servable"]:
            _copy(registry.checkout(digest, "servable"), folder / "servable")
            fingerprint = registry.read(digest, PROOF)
            (folder / PROOF).write_bytes(fingerprint)
            probes = {"probes": len(json.loads(fingerprint)["probes"])}
            stages.put("fingerprint", digests.convert, probes, reused=source)
        stages.put("convert", digests.convert, known.report["conversion"], reused=source)
    if "ask" in have:
        (folder / ANSWERS).write_bytes(registry.read(digest, ANSWERS))
        asked = {
            "report": {key: v for key, v in known.report.items() if key not in OTHER_STAGES},
            "values": dict(known.release.metrics),
            "prod": known.lock["prod"],
        }
        stages.put("ask", digests.ask, asked, reused=source)
        if "evaluate" in have:
            stages.put("evaluate", digests.evaluate, asked, reused=source)


def sentences(known: Known, plan: Plan, prod: str | None) -> list[str]:
    """What is reused and what is done again, a line each, with why."""
    have = usable(known, plan, prod)
    lines = [f"training: reused from {known.ref} (train digest {plan.digests.train[:19]}…)"]
    for stage, title in (("convert", "conversion"), ("ask", "answers"), ("evaluate", "evaluation")):
        if stage not in have:
            why = ", ".join(changed(known, plan, stage, prod)) or "its code"
            return [*lines, f"{title}: done again, since this changed: {why}"]
        lines.append(f"{title}: reused from {known.ref}")
    return lines


def changed(known: Known, plan: Plan, stage: str, prod: str | None) -> list[str]:
    """The manifest's keys and whatever else makes a stage differ from the release's."""
    old = dict(leaves(known.release.manifest or {}))
    new = dict(leaves(plan.manifest.model_dump(mode="json")))
    found = [
        f"`{key}`" for key in old if key in new and decision(key) == stage and old[key] != new[key]
    ]
    if stage == "evaluate":
        code = known.lock["metrics"]
        found += [
            f"the code of metric `{name}`"
            for name, digest in plan.metrics.items()
            if code.get(name, digest) != digest
        ]
        found += _moved(known.lock.get("scorers", {}), plan.scorers, "scores")
    if stage == "ask":
        found += ["the test rows"] * (known.lock["asked"] != plan.asked)
        found += _moved(known.lock.get("asking", {}), plan.asking, "brings what retention asks")
        found += [] if found else _missing_answers(known, plan, prod)
    return found


def _moved(before: Mapping[str, str], now: Mapping[str, str], what: str) -> list[str]:
    """Packages with another version than then."""
    return [
        f"`{package}`, which {what}: {before.get(package, 'version not recorded')} → {version}"
        for package, version in now.items()
        if before.get(package) != version
    ]


def _missing_answers(known: Known, plan: Plan, prod: str | None) -> list[str]:
    """What the plan's metrics and gates need that the release's evaluation did not ask."""
    missing = []
    if not known.has(ANSWERS):
        missing.append("there were no answers")
    elif not needs_of(plan.manifest.evaluate) <= needs_of_report(known.report):
        missing.append("what the metrics need (`evaluate.metrics`)")
    if prod is not None and known.lock["prod"] != prod:
        missing.append("which release is `prod`")
    return missing


def _copy(source: Path, target: Path) -> None:
    """A checkout's files, writable: a checkout itself is read-only."""
    shutil.rmtree(target, ignore_errors=True)
    for path in source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
