"""Runs a build that was queued with `adapters build --detach`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapterworks.app import App
from adapterworks.builders.training.events import Event
from adapterworks.manifests.digests import digest_json
from adapterworks.manifests.load import load_manifest
from adapterworks.manifests.models import Manifest
from adapterworks.registry.jobs.folders import folder_of
from adapterworks.registry.jobs.job import Claim, Done, Job, Outcome, Stop
from adapterworks.registry.jobs.queue import require
from adapterworks.registry.jobs.waits import waits_of
from adapterworks.workers.job_events import JobEvents
from adapterworks.workers.waiting import waiter

BEGUN = "begun_anew"
"""Where a job of `--force` says in which attempt it was begun anew."""
MANIFEST_CHANGED = "manifest_changed"
"""Why a job failed whose manifest was edited after it was queued."""


def arguments(
    manifest: Manifest, source: str, profile: str | None, overrides: tuple[str, ...], **more: Any
) -> dict[str, Any]:
    """What the job holds: where the manifest is, and what it said when it was queued.

    Args:
        more: `alias`, `resume`, `force` and `who`.
    """
    return {
        "manifest": source,
        "profile": profile,
        "overrides": list(overrides),
        "said": _said(manifest),
        "declared": _declared(manifest),
        "name": manifest.adapter.name,
        **more,
    }


def _said(manifest: Manifest) -> str:
    """Digest of what it says, all of its stages: a later version's defaults are no change of it."""
    return digest_json(
        [stage.model_dump(mode="json", exclude_unset=True) for stage in manifest.chain]
    )


def _declared(manifest: Manifest) -> str:
    """Digest of what it says with this version's defaults, as earlier versions' jobs have it."""
    *before, last = (stage.model_dump(mode="json") for stage in manifest.chain)
    return digest_json([*before, last] if before else last)


def _is_as_it_was(manifest: Manifest, asked: Mapping[str, Any]) -> bool:
    if "said" in asked:
        return bool(_said(manifest) == asked["said"])
    return bool(_declared(manifest) == asked["declared"])


def run(app: App, job: Job, claim: Claim) -> Outcome:
    """Build it; gates that fail hold the alias, and are no failure of the job."""
    from adapterworks.builders.building.run import run_build
    from adapterworks.engines.compose import compose_builders_engines
    from adapterworks.workers.blob_checkpoints import KEPT, BlobCheckpoints

    asked, database = job.arguments, app.registry.database
    manifest = load_manifest(
        _source(app, job), profile=asked["profile"], overrides=asked["overrides"]
    )
    if not _is_as_it_was(manifest, asked):
        message = f"`{asked['manifest']}` is not what it was when the job was queued"
        return Stop(MANIFEST_CHANGED, f"{message}\n\nhint: queue it again")
    with JobEvents(database, claim, job.tenant, waits_of(job.result)) as job_events:
        checkpoints = None
        if "files" in asked:  # the worker's disk may be lost with its node
            kept = job.result.get(KEPT)
            checkpoints = BlobCheckpoints(database, app.registry.blobs, claim, kept, job_events.say)
        # Until a stage has begun it was waited for; a crash after that is no reason to begin anew.
        force = asked["force"] and BEGUN not in job.result

        def begun(event: Event) -> None:
            nonlocal force
            if force and event["event"] == "stage" and event["state"] == "begin":
                force = False
                job_events.note(**{BEGUN: claim.attempt})

        result = run_build(
            manifest,
            registry=app.registry,
            bases=app.bases,
            home=app.settings.home,
            who=asked["who"],
            alias=asked["alias"],
            force=force,
            guard=lambda connection: require(connection, claim),
            engines=compose_builders_engines(app, say=job_events.say),
            listeners=(job_events, begun),
            progress=job_events.say,
            checkpoints=checkpoints,
            waiter=waiter(job),
        )
        for reason in result.reasons:
            job_events.say(f"alias not moved: {reason}")
        if result.kept:
            job_events.say(f"alias not moved: {result.kept}")
    return Done(
        {
            "ref": result.ref,
            "digest": result.digest,
            "plan": result.plan.digest,
            "alias": result.alias,
            "reasons": list(result.reasons),
            "kept": result.kept,
        }
    )


def _source(app: App, job: Job) -> str:
    """The manifest; one that came with its files is written into the job's folder first."""
    source = str(job.arguments["manifest"])
    if (files := job.arguments.get("files")) is None:
        return source
    from adapterworks.workers.bundle import unpack

    folder = folder_of(app.settings.home, job.id) / "files"
    unpack(files, app.registry.blobs, folder)
    return str(folder / source)
