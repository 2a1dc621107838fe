"""A builder's stand-in: `adapterworks.workers.child` without a training.

It publishes a release of a few bytes under the job's name, in the transaction that its claim
guards, and then ends the job: a kill may come between any two of its steps.
"""

from __future__ import annotations

import sys
import time

from adapterworks.app import App
from adapterworks.registry.jobs import events, queue
from adapterworks.registry.jobs.job import Claim, Done, Job
from adapterworks.workers import child
from tests.registry.releases import draft


def run(app: App, job: Job, claim: Claim) -> Done:
    """Publish once: what an earlier attempt has published is named, as a build's plan does."""
    database, name = app.registry.database, str(job.arguments["name"])
    with database.write() as connection:
        queue.require(connection, claim)
        events.add(connection, job.id, "begun", time.time())
    versions = app.registry.versions(name)
    if versions:
        return Done({"ref": f"{name}@{versions[0].version}"})
    folder = app.settings.home / "made" / f"{job.id}-{claim.attempt}"
    folder.mkdir(parents=True, exist_ok=True)
    # Other bytes with each attempt: published twice, it would be two versions.
    (folder / "weights.bin").write_text(f"{job.id} {claim.attempt} {time.time()}")
    published = app.registry.publish(
        folder, draft(name=name), who="tester", guard=lambda c: queue.require(c, claim)
    )
    return Done({"ref": f"{name}@{published.version}"})


if __name__ == "__main__":
    child.KINDS = {"fine_tuning": run}  # type: ignore[assignment]
    sys.exit(child.main(sys.argv[1:]))
