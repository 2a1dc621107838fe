"""A job of Slurm: `sbatch`, `squeue`, `scancel` of the machine this runs on.

The file system is shared, as it is in Slurm's world: the task's folder and the user's home are the
same on every node. A job whose node dies, or that is preempted, is queued again by Slurm
(`--requeue`), and its worker goes on where the last one was.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from adapterworks.manifests.errors import Refused, Unavailable
from adapterworks.workers.executors.executor import NoPlace, Resources, State, Task
from adapterworks.workers.executors.folder import SCRIPT, TaskFolder

_SECONDS = 60.0
# What would have Slurm's commands do something else than they are told: wait, make an array, look
# at some partitions only.
_STEERS = ("SBATCH_ARRAY_INX", "SBATCH_WAIT", "SQUEUE_", "SCANCEL_")
_WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SUSPENDED"}
# What it says of an id that it has forgotten.
_FORGOTTEN = "Invalid job id"
# What a controller's silence is, in its own words (`slurm_strerror`).
_SILENT = (
    "Unable to contact",
    "Connection refused",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Message receive failure",
    "Message send failure",
)
_RUNNING = {"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED", "RESIZING"}


class SlurmExecutor:
    """Runs tasks in a partition.

    Args:
        partition: Slurm's default one if empty.
        root: of the tasks' folders, on the shared file system.
    """

    shares_files = True

    def __init__(self, partition: str, root: Path) -> None:
        self._partition, self._root = partition, root

    def submit(self, task: Task) -> str:
        """See `Executor`; the id is Slurm's number and the task's name."""
        folder = TaskFolder.make(self._root, task)
        options = [
            "--parsable",
            "--export=ALL",  # `SBATCH_EXPORT=NONE` would leave out which registry is meant
            f"--job-name={task.name}",
            f"--output={folder.path / 'slurm'}",
            f"--chdir={task.folder}",
            "--requeue",
            "--open-mode=append",
            f"--signal=B:TERM@{_before(task.resources)}",
            *([f"--partition={self._partition}"] if self._partition else []),
            *_asked(task.resources),
        ]
        words = [str(folder.path), str(task.folder), *task.command]
        # `sbatch` copies the script away; its words come after it.
        script = "#!/bin/sh\n" + SCRIPT.lstrip()
        environment = {**os.environ, **task.environment}
        said = _run(["sbatch", *options, "/dev/stdin", *words], script, environment)
        return f"{said.strip().split(';')[0]}.{task.name}"

    def status(self, id: str) -> State:
        """See `Executor`."""
        number, folder = self._find(id)
        # Slurm first: one that was preempted has written its code, and is queued again.
        state = _state(number)
        if state in _WAITING:
            return "waiting"
        if state in _RUNNING:
            return "running"
        if (ended := folder.ended) is not None:
            return ended
        return "cancelled" if state == "CANCELLED" else "failed"

    def why(self, id: str) -> str:
        """See `Executor`; Slurm's reason, as `Priority` or `Resources`."""
        number, _ = self._find(id)
        said = _asked_of(number, "%r") or ""
        return "" if said == "None" else said

    def log(self, id: str) -> str:
        """See `Executor`."""
        return self._find(id)[1].log

    def cancel(self, id: str) -> None:
        """See `Executor`; the worker is asked first, and gives back what it runs."""
        number, folder = self._find(id)
        state = _state(number)
        if state in _RUNNING:
            folder.cancelled()
            _run(["scancel", "--batch", "--signal=TERM", number])
        elif state in _WAITING or folder.ended is None:
            folder.cancelled()
            _run(["scancel", number])

    def _find(self, id: str) -> tuple[str, TaskFolder]:
        number, _, name = id.partition(".")
        return number, TaskFolder.find(self._root, name)


def _before(resources: Resources) -> int:
    """Seconds before a job's time is over, in which the worker saves what it runs and gives it
    back; those of a short job are not all for that."""
    return 300 if resources.seconds is None else max(30, min(300, resources.seconds // 4))


def _asked(resources: Resources) -> list[str]:
    """The resources as `sbatch` takes them; memory in KiB, rounded up, and time in minutes."""
    asked = ["--nodes=1", "--ntasks=1"]
    if resources.gpus:
        asked.append(f"--gres=gpu:{resources.gpus}")
    if resources.cpus is not None:
        asked.append(f"--cpus-per-task={resources.cpus}")
    if resources.memory is not None:
        asked.append(f"--mem={-(-resources.memory // 1024)}K")
    if resources.seconds is not None:
        asked.append(f"--time={-(-resources.seconds // 60)}")
    return asked


def _state(number: str) -> str | None:
    """Slurm's word for a job's state; None when the queue has forgotten it.

    Raises:
        Unavailable: it says neither, as a controller that is busy.
    """
    said = _asked_of(number, "%T")
    return said.split()[0] if said else None


def _asked_of(number: str, what: str) -> str | None:
    """What the queue says of a job, by `squeue`'s letter for it; as `_state`."""
    try:
        said = _run(
            ["squeue", "--noheader", f"--jobs={number}", "--states=all", f"--format={what}"]
        )
    except Refused as error:
        if _FORGOTTEN in error.message:
            return None
        raise Unavailable(error.message, retry_after=60.0) from error
    return " ".join(said.split()) or None


def _run(
    command: Sequence[str], text: str | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Run one of Slurm's commands.

    Raises:
        NoPlace: it is not on this machine.
        Refused: Slurm does not want that.
        Unavailable: the controller does not answer.
    """
    told = os.environ if environment is None else environment
    told = {name: value for name, value in told.items() if not name.startswith(_STEERS)}
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, env=told, timeout=_SECONDS
        )
    except FileNotFoundError as error:
        raise NoPlace(
            f"`{command[0]}` is not on this machine",
            hint="run this where Slurm's commands are, on a login node",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"`{command[0]}` does not answer", retry_after=60.0) from error
    if done.returncode == 0:
        return done.stdout
    why = " ".join(done.stderr.split()) or f"it ended with {done.returncode}"
    if any(words in why for words in _SILENT):
        raise Unavailable(f"Slurm's controller does not answer: {why}", retry_after=60.0)
    raise Refused(f"Slurm refused: {why}")
