"""A process on this machine that outlives whoever started it; its id is its name."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from adapterworks.workers.executors.executor import State, Task
from adapterworks.workers.executors.folder import SCRIPT, TaskFolder


class LocalExecutor:
    """Runs tasks here.

    Args:
        root: of their folders.
    """

    shares_files = True

    def __init__(self, root: Path) -> None:
        self._root = root

    def submit(self, task: Task) -> str:
        """See `Executor`; it takes what it needs: nothing holds it to its resources."""
        folder = TaskFolder.make(self._root, task)
        words = ["sh", "-c", SCRIPT, "sh", str(folder.path), str(task.folder), *task.command]
        nothing = [(os.POSIX_SPAWN_OPEN, n, os.devnull, os.O_RDWR, 0) for n in range(3)]
        # In a session of its own: Ctrl-C where it was started does not reach it.
        pid = os.posix_spawn(
            "/bin/sh",
            words,
            {**os.environ, **task.environment},
            file_actions=nothing,
            setsid=True,
        )
        (folder.path / "shell").write_text(str(pid))
        return task.name

    def status(self, id: str) -> State:
        """See `Executor`."""
        folder = TaskFolder.find(self._root, id)
        alive = _alive(int((folder.path / "shell").read_text()))
        # In this order: it may have ended between the two questions.
        return folder.ended or ("running" if alive else "failed")

    def log(self, id: str) -> str:
        """See `Executor`."""
        return TaskFolder.find(self._root, id).log

    def cancel(self, id: str) -> None:
        """See `Executor`."""
        folder = TaskFolder.find(self._root, id)
        if folder.ended is None:
            folder.cancelled()
            with contextlib.suppress(ProcessLookupError):
                os.kill(int((folder.path / "shell").read_text()), signal.SIGTERM)


def _alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # ours, if we are who started it
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's by now
        return False
    return True
