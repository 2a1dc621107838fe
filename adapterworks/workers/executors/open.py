"""Of a place, who runs tasks there."""

from __future__ import annotations

from pathlib import Path

from adapterworks.workers.executors.executor import Executor
from adapterworks.workers.executors.local import LocalExecutor
from adapterworks.workers.executors.slurm import SlurmExecutor
from adapterworks.workers.executors.where import Where

TASKS = "tasks"


def open_executor(where: Where, home: Path) -> Executor:
    """Who runs tasks at a place.

    Args:
        home: tasks have folders under `tasks/`.
    """
    root = home / TASKS
    return LocalExecutor(root) if where.kind == "local" else SlurmExecutor(where.name, root)
