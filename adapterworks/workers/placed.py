"""A job's worker at the place that a build was given to: whether it is there, what it waits for.

The queue knows what became of the job, the place alone whether anybody will come for it. Where
files are shared a worker that begins finds nothing of a job that was cancelled, and ends.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Literal

from adapterworks.manifests.errors import NotFound, Refused, Unavailable
from adapterworks.registry.jobs.job import Job
from adapterworks.registry.jobs.putting import TASK
from adapterworks.settings import Settings
from adapterworks.workers.executors.executor import Executor, NoPlace, State
from adapterworks.workers.executors.open import open_executor
from adapterworks.workers.executors.where import parse_where

ON = "on"
"""The label of a job that says its place."""


class WorkerGone(Unavailable):
    """A job's place runs its worker no more, and has tried as often as it does."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """The status of a job's worker at its place.

    Attributes:
        state: the place's; `forgotten` where it knows of none.
        why: what it waits for, or what became of it, in the place's words; may be empty.
    """

    state: State | Literal["forgotten"]
    why: str = ""

    @property
    def is_there(self) -> bool:
        """Whether it runs the job, or will."""
        return self.state in ("waiting", "running")

    def __str__(self) -> str:
        """For people."""
        return f"{self.state}: {self.why}" if self.why else self.state


def place_of(job: Job) -> str:
    """Where a job was given to, as `--on` says it; empty for one of this registry's workers."""
    return str(job.labels.get(ON, ""))


def task_of(job: Job) -> str:
    """The place's own id for a job's newest worker."""
    return str(job.result.get(TASK, job.id))


def worker_status(executor: Executor, task: str) -> WorkerStatus:
    """Ask a place for a worker.

    Raises:
        Unavailable: the place does not answer.
        NoPlace: it cannot be asked from here.
    """
    try:
        state, why = executor.status(task), ""
        with contextlib.suppress(Refused):  # who may ask for the one need not see the other
            why = executor.why(task)
    except NoPlace:
        raise
    except NotFound as error:
        return WorkerStatus("forgotten", error.message)
    return WorkerStatus(state, why)


def status_of(job: Job, settings: Settings) -> WorkerStatus | None:
    """The status of a job's worker; None for a job that nobody is to run elsewhere now.

    Raises:
        Unavailable, NoPlace, MissingExtra: the place cannot be asked.
    """
    if not (on := place_of(job)) or job.ended or job.state == "paused":
        return None
    where = parse_where(on)
    if where.kind == "slurm" and TASK not in job.result:
        return None  # of a version that kept no number, without which Slurm cannot be asked
    return worker_status(open_executor(where, settings), task_of(job))


def end_at_its_place(job: Job, settings: Settings) -> None:
    """Have a job's place let go of its task, which may wait there for room until it is told.

    Where files are shared nothing is asked: a worker that begins there finds nothing, and ends.

    Raises:
        Refused, Unavailable, MissingExtra: the place does not do it, or cannot be asked.
    """
    if (on := place_of(job)).startswith(("ray:", "k8s:")):
        with contextlib.suppress(NotFound):  # it has gone, or was never there
            open_executor(parse_where(on), settings).cancel(task_of(job))
