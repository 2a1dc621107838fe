"""A job for which others hold this machine's memory: when it looks again, and when no more."""

from __future__ import annotations

import time

from adapterworks.builders.building.memory_queue import LOOK_S, Waiter
from adapterworks.builders.plan.occupied import Occupied
from adapterworks.progress import seconds
from adapterworks.registry.jobs.job import Again, Claim, Job, Outcome, Stop
from adapterworks.registry.jobs.shown import WHY
from adapterworks.registry.jobs.waits import Waits, begun

_AGAIN_S = 15.0
# Between two looks of a job that has waited for long.
_MOST_S = 300.0


def waiter(job: Job) -> Waiter:
    """A job in the line of those who wait for memory."""
    return Waiter(job.id, begun(job.result, "memory", time.time()))


def waits(error: Occupied, job: Job, claim: Claim, *, most: float | None, now: float) -> Outcome:
    """What becomes of a job that found no memory: it comes again, or has waited for long enough.

    Args:
        most: seconds that are waited for; None: for ever.
    """
    wait = error.wait
    since = begun(job.result, "memory", now) if wait is None else wait.since
    # What is held by whom changes from look to look; it is beside, and the wait is told once.
    beside = {WHY: error.message}
    if most is not None and now - since >= most:
        said = f"{error.public}; that was waited for for {seconds(now - since)}"
        return Stop("no_memory", said, result=beside)
    first = wait is not None and wait.first
    after = min(_MOST_S, _AGAIN_S * 2 ** min(claim.attempt - 1, 10))
    noted = Waits("memory", error.needs, since, 0 if wait is None else wait.passed, first)
    return Again(
        min(after, LOOK_S) if first else after,
        error.public,
        counts=False,
        detail={**beside, **noted.noted()},
    )
