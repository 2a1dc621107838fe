"""What Kubernetes' objects say of a pod that does not begin, and of a Job that has ended: pure."""

from __future__ import annotations

from typing import Any

# What every pod passes through on its way up.
_ON_ITS_WAY = {"ContainerCreating", "PodInitializing"}


def why_waits(pod: Any) -> str:
    """What a pod (`V1Pod`) waits for, or why it has failed; empty for one that is on its way.

    An image that cannot be pulled, a Secret that is not there, no node with room.
    """
    status = pod.status
    said = [
        _sentence(state.waiting.reason, state.waiting.message)
        for one in (status.container_statuses if status else None) or ()
        if (state := one.state) and state.waiting and state.waiting.reason not in _ON_ITS_WAY
    ]
    said += [
        _sentence(one.reason, one.message)
        for one in (status.conditions if status else None) or ()
        if one.type == "PodScheduled" and one.status == "False"
    ]
    if status and status.phase == "Failed" and status.reason:
        said.append(_sentence(status.reason, status.message))
    return "; ".join(said)


def why_ended(job: Any) -> str:
    """Why a Job (`V1Job`) has failed; empty where it has not."""
    failed = [one for one in job.status.conditions or () if one.type == "Failed"]
    return _sentence(failed[0].reason, failed[0].message) if failed else ""


def _sentence(reason: str | None, message: str | None) -> str:
    return ": ".join(filter(None, (reason, " ".join((message or "").split()))))
