"""Runs a fine-tuning job: its rows and its manifest into a folder, then a build like any other.

Invariant: what is built is the manifest that `adapters jobs show JOB --manifest` prints; when the
build is done an engine has yet to prove it, so the job is handed on, and has not succeeded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adapterworks.app import App
from adapterworks.builders.building.result import UNTOLD
from adapterworks.builders.training.events import parse_lines
from adapterworks.manifests.errors import Refused
from adapterworks.manifests.load import load_manifest
from adapterworks.manifests.models import Manifest
from adapterworks.manifests.paths import base_model
from adapterworks.manifests.toml import to_toml
from adapterworks.registry.blobs.store import BlobStore, copy_blob
from adapterworks.registry.jobs.fine_tuning import METHODS as ASKED
from adapterworks.registry.jobs.fine_tuning import Asked, Rows, manifest_values
from adapterworks.registry.jobs.folders import folder_of
from adapterworks.registry.jobs.job import PROOF_LANE, Claim, Handed, Job, Outcome, Stop
from adapterworks.registry.jobs.queue import require
from adapterworks.registry.jobs.waits import waits_of
from adapterworks.workers.job_events import JobEvents
from adapterworks.workers.waiting import waiter

MANIFEST = "manifest.toml"
_ALARMED = (
    "hint: a policy that exploits its grader does that: look whether the grader can be pleased by "
    "answers that are not meant, and use fewer `n_epochs` or a lower `learning_rate_multiplier`"
)


def manifest_text(job: Job) -> str:
    """The manifest that a job stands for, with its rows beside it by their digests."""
    from adapterworks.builders.methods import METHODS
    from adapterworks.builders.objectives import OBJECTIVES

    asked = Asked.model_validate_json(json.dumps(job.arguments))
    learnt = ASKED[asked.method].objective
    times = OBJECTIVES.named(learnt).learning_rate.value if learnt else 1.0
    return to_toml(manifest_values(asked, lambda kind: METHODS[kind].learning_rate.value * times))


def write_folder(job: Job, blobs: BlobStore, folder: Path) -> Path:
    """The manifest and its rows in a folder; returns the manifest's path."""
    asked = Asked.model_validate_json(json.dumps(job.arguments))
    folder.mkdir(parents=True, exist_ok=True)
    for rows in filter(None, (asked.training, asked.validation)):
        _copy(rows, blobs, folder)
    path = folder / MANIFEST
    path.write_text(manifest_text(job), encoding="utf-8")
    return path


def _copy(rows: Rows, blobs: BlobStore, folder: Path) -> None:
    target = folder / rows.path
    if not target.exists():
        staged = folder / f".{rows.path}"
        staged.unlink(missing_ok=True)
        copy_blob(blobs, rows.blob, staged)
        staged.rename(target)


def run(app: App, job: Job, claim: Claim) -> Outcome:
    """Build it; a failed gate is a failure, whose release stays as a version without an alias."""
    from adapterworks.builders.building.run import run_build
    from adapterworks.engines.compose import compose_builders_engines

    asked = Asked.model_validate_json(json.dumps(job.arguments))
    folder = folder_of(app.settings.home, job.id)
    manifest = load_manifest(write_folder(job, app.registry.blobs, folder))
    base = app.bases.ensure(base_model(manifest), quantization=asked.quantization)
    if base.digest != asked.base_digest:
        said = f"`{asked.base}` is {base.digest[:19]}… here, and the gateway serves another"
        return Stop("other_base", f"{said}\n\nhint: prepare the same base on every machine")
    with JobEvents(app.registry.database, claim, job.tenant, waits_of(job.result)) as job_events:
        job_events.note(hyperparameters=_resolved(asked, manifest))
        try:
            result = run_build(
                manifest,
                registry=app.registry,
                bases=app.bases,
                home=app.settings.home,
                who=asked.who,
                hold_alias=True,
                guard=lambda connection: require(connection, claim),
                engines=compose_builders_engines(app, say=job_events.say),
                listeners=(job_events,),
                progress=job_events.say,
                waiter=waiter(job),
            )
        except Refused:
            if job_events.stopped is None:
                raise
            job_events.flush()
            # The build's hint is for who has its manifest.
            return Stop("alarm", f"the training was stopped at {job_events.stopped}\n\n{_ALARMED}")
        job_events.say(f"built {result.ref}")
    told = {
        "ref": result.ref,
        "digest": result.digest,
        "plan": result.plan.digest,
        "trained_tokens": _tokens(app, result.digest),
    }
    reasons = result.reasons if result.created else _failed(result.report)
    if reasons:
        return Stop("gate_failed", "; ".join(reasons), result=told)
    if result.servable is None:
        return Stop("not_servable", f"`{result.ref}` has no form an engine can load", result=told)
    return Handed(PROOF_LANE + result.plan.base.digest, told)


def _resolved(asked: Asked, manifest: Manifest) -> dict[str, Any]:
    """What `"auto"` came to."""
    further = (
        {} if asked.grader is None else {"compute_multiplier": asked.compute_multiplier or 1.0}
    )
    return {
        **further,
        "n_epochs": asked.n_epochs or round(manifest.train.epochs) or 1,
        "batch_size": manifest.train.batch_size,
        "learning_rate_multiplier": asked.learning_rate_multiplier or 1.0,
    }


def _failed(report: dict[str, Any]) -> tuple[str, ...]:
    """Why a release that was there already may not be served."""
    if not report:
        return (UNTOLD,)
    refused = report.get("conversion", {}).get("refused")
    failed = [gate["why"] for gate in report.get("gates", []) if not gate["passed"]]
    return (*failed, *([refused] if refused else []))


def _tokens(app: App, digest: str) -> int:
    """Tokens that were trained on, by the release's own log; 0 where that was erased."""
    log = app.registry.read_if_here(digest, "training.jsonl") or b""
    steps = [event for event in parse_lines(log) if event["event"] == "step"]
    return int(steps[-1]["tokens"]) if steps else 0
