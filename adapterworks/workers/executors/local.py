"""A process on this machine that outlives whoever started it; its id is its name."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from adapterworks.workers.executors.executor import State, Task
from adapterworks.workers.executors.folder import SCRIPT, TaskFolder

_BOOT = Path("/proc/sys/kernel/random/boot_id")


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
        (folder.path / "shell").write_text(f"{pid} {_begun(pid)}")
        return task.name

    def status(self, id: str) -> State:
        """See `Executor`."""
        folder = TaskFolder.find(self._root, id)
        alive = _is_alive(*_shell(folder))
        # In this order: it may have ended between the two questions.
        return folder.ended or ("running" if alive else "failed")

    def why(self, id: str) -> str:
        """See `Executor`; nothing is waited for here."""
        TaskFolder.find(self._root, id)
        return ""

    def log(self, id: str) -> str:
        """See `Executor`."""
        return TaskFolder.find(self._root, id).log

    def cancel(self, id: str) -> None:
        """See `Executor`."""
        folder = TaskFolder.find(self._root, id)
        if folder.ended is None:
            folder.cancelled()
            _ask_to_end(*_shell(folder))


def _shell(folder: TaskFolder) -> tuple[int, str]:
    """The process of a task's shell, and when it began: its number may be another's by now."""
    pid, begun = (folder.path / "shell").read_text().split()
    return int(pid), begun


def _begun(pid: int) -> str:
    """When a process began: a boot, and ticks since then; `ended` for one that runs no more.

    Field 22 of `/proc/PID/stat` (proc_pid_stat(5)), behind a name that may hold anything.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "ended"
    if fields[0] in "ZX":  # it has ended, and was not waited for
        return "ended"
    return f"{_BOOT.read_text().strip()}/{fields[19]}"


def _is_alive(pid: int, begun: str) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # ours, if we are who started it
    return begun != "ended" and _begun(pid) == begun


def _ask_to_end(pid: int, begun: str) -> None:
    """Send SIGTERM to this process and no other: what is held is the process, not its number."""
    try:
        held = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if _is_alive(pid, begun):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(held, signal.SIGTERM)
    finally:
        os.close(held)
