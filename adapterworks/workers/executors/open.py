"""Of a place, who runs tasks there."""

from __future__ import annotations

from adapterworks.extras import require
from adapterworks.settings import Settings
from adapterworks.workers.executors.executor import Executor
from adapterworks.workers.executors.kubernetes import KubernetesExecutor
from adapterworks.workers.executors.local import LocalExecutor
from adapterworks.workers.executors.ray import RayExecutor
from adapterworks.workers.executors.slurm import SlurmExecutor
from adapterworks.workers.executors.where import Where

TASKS = "tasks"


def open_executor(where: Where, settings: Settings) -> Executor:
    """Who runs tasks at a place; those whose files are shared have folders under `tasks/` of home.

    Raises:
        MissingExtra: what asks the place is not installed.
    """
    root = settings.home / TASKS
    match where.kind:
        case "local":
            return LocalExecutor(root)
        case "slurm":
            return SlurmExecutor(where.name, root)
        case "ray":
            require("ray", f"`--on {where}`")
            return RayExecutor(where.name)
        case "k8s":
            require("kubernetes", f"`--on {where}`")
            return KubernetesExecutor(where.name, settings.kubernetes_image)
