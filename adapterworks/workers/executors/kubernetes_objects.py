"""A task as Kubernetes' Job: one pure function.

The pod is the worker of `deploy/kubernetes`: the same image, user, Secret and folders; but its home
is its own and goes with it, since checkpoints are in the blob store. What is secret is in the
Secret `adapters` of the namespace, so the object holds nothing that may not be read.
"""

from __future__ import annotations

from typing import Any

from adapterworks.workers.executors.executor import GIVEN_BACK, Resources, Task

# What the Secret says: where the index and the bytes are, as the cluster reaches them.
_OF_SECRET = ("ADAPTERS_DATABASE", "ADAPTERS_BLOBS")
SECRET = "adapters"  # noqa: S105  (its name)
CANCELLED = "adapterworks/cancelled"
LABELS = {
    "app.kubernetes.io/name": "adapterworks-build",
    "app.kubernetes.io/managed-by": "adapterworks",
}
MOUNTS = {
    "home": "/var/lib/adapters",
    "tmp": "/tmp",  # noqa: S108  (the container's own)
    "memory": "/dev/shm",  # noqa: S108
}
# Pods that fail by themselves; those that a lost or drained node takes along do not count.
_TRIES = 6
_KEEP_S = 7 * 86400
_GRACE_S = 300
_USER = 10001


def job_object(task: Task, *, namespace: str, image: str) -> dict[str, Any]:
    """The Job of a task (`batch/v1`).

    Args:
        image: of `deploy/Containerfile.engine`, or one with the same program and folders.
    """
    rules: list[dict[str, Any]] = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    ]
    pod = _pod(task, image)
    if task.resources.seconds is not None:
        # The pod's, which counts from when a node has taken it; the Job's counts what it waits for
        # one. A worker that is asked to end when its time is over is not begun again.
        pod["activeDeadlineSeconds"] = task.resources.seconds
        over = {"operator": "In", "values": [GIVEN_BACK]}
        rules.append({"action": "FailJob", "onExitCodes": over})
    spec: dict[str, Any] = {
        "backoffLimit": _TRIES,
        # A pod that may still run on a node that does not answer is not run twice.
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {"rules": rules},
        "ttlSecondsAfterFinished": _KEEP_S,
        "template": {"metadata": {"labels": dict(LABELS)}, "spec": pod},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": task.name, "namespace": namespace, "labels": dict(LABELS)},
        "spec": spec,
    }


def _pod(task: Task, image: str) -> dict[str, Any]:
    variables = {"ADAPTERS_HOME": MOUNTS["home"], **task.environment}
    for name in _OF_SECRET:  # `env` would hide what `envFrom` brings, password and all
        variables.pop(name, None)
    container = {
        "name": "worker",
        "image": image,
        "command": list(task.command),
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "envFrom": [{"secretRef": {"name": SECRET}}],
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in MOUNTS.items()],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if asked := _asked(task.resources):
        container["resources"] = asked
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        # A build stops at its newest checkpoint and goes on there.
        "terminationGracePeriodSeconds": _GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "home", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}},
        ],
    }


def _asked(resources: Resources) -> dict[str, dict[str, str]]:
    """Requests and limits; a GPU's request is its limit, memory in bytes."""
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    if resources.cpus is not None:
        requests["cpu"] = str(resources.cpus)
    if resources.memory is not None:
        requests["memory"] = limits["memory"] = str(resources.memory)
    if resources.gpus:
        limits["nvidia.com/gpu"] = str(resources.gpus)
    return {k: v for k, v in (("requests", requests), ("limits", limits)) if v}
