"""A builder's stand-in: `adapterworks.workers.child` without a training.

It publishes a release of a few bytes under the job's name, in the transaction that its claim
guards, and then ends the job: a kill may come between any two of its steps.
"""

from __future__ import annotations

import sys
import time

from adapterworks.app import App
from adapterworks.registry.jobs import events, queue
from adapterworks.registry.jobs.job import PROOF_LANE, Claim, Done, Handed, Job, Outcome
from adapterworks.registry.releases.release import BaseIdentity
from adapterworks.workers import child
from tests.registry import releases


def run(app: App, job: Job, claim: Claim) -> Outcome:
    """Publish once: what an earlier attempt has published is named, as a build's plan does.

    A job called `…slow` waits for a file `go-JOB` first.
    """
    database, name = app.registry.database, str(job.arguments["name"])
    with database.write() as connection:
        queue.require(connection, claim)
        events.add(connection, job.id, "begun", time.time())
        for step in (5, 10):
            data = {"step": step, "total_steps": 10, "train_loss": 1.0}
            events.add(connection, job.id, "a step", time.time(), kind=events.METRICS, data=data)
            events.add_checkpoint(connection, job.id, step, data, time.time())
    while name.endswith("slow") and not (app.settings.home / f"go-{job.id}").exists():
        time.sleep(0.02)
    versions = app.registry.versions(name)
    if not versions:
        folder = releases.folder(app.settings.home / "made" / f"{job.id}-{claim.attempt}")
        # Other bytes with each attempt: published twice, it would be two versions.
        (folder / "README.md").write_text(f"{job.id} {claim.attempt} {time.time()}")
        app.registry.publish(
            folder,
            releases.draft(name=name, base=_base(job)),
            who="tester",
            guard=lambda connection: queue.require(connection, claim),
        )
        versions = app.registry.versions(name)
    row = versions[0]
    result = {"ref": f"{name}@{row.version}", "digest": row.digest, "trained_tokens": 10}
    lane = job.arguments.get("base_digest")
    return Handed(PROOF_LANE + lane, result) if lane else Done(result)


def _base(job: Job) -> BaseIdentity:
    digest = job.arguments.get("base_digest", releases.BASE.digest)
    return releases.BASE.model_copy(update={"digest": digest})


if __name__ == "__main__":
    child.KINDS = {"fine_tuning": run}  # type: ignore[assignment]
    sys.exit(child.main(sys.argv[1:]))
