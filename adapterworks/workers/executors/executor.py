"""What is asked of a place that runs a worker for one job.

A place runs no build itself: it starts `adapters worker --lane LANE`, which claims the one job of
that lane, renews its lease, goes on at its newest checkpoint when it was killed, and tells its
events to the registry's database, as every worker does. So what came of the job, its log and its
release are asked of the queue (`adapters jobs`); what is asked here is whether somebody runs it.

Invariant: a task that the place starts again (a node died, a job was preempted) is the same task:
it finds the job in its lane, or nothing, and ends. A worker that is asked to end before ends with
`GIVEN_BACK`, which no place takes for done.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from adapterworks.manifests.errors import NotFound

GIVEN_BACK = os.EX_TEMPFAIL
"""The exit code of a worker that was asked to end and has more to do: it is to be begun again."""
State = Literal["waiting", "running", "ended", "failed", "cancelled"]


class NoPlace(NotFound):
    """What asks the place is not on this machine: nothing is known of its tasks from here."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a task needs; None is what the place gives by itself.

    Attributes:
        gpus: of one node.
        memory: bytes, of one node.
        seconds: it is ended after so many of running; those that it waits for a node do not count.
    """

    gpus: int = 0
    cpus: int | None = None
    memory: int | None = None
    seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A command to run elsewhere.

    Attributes:
        name: lower-case letters, digits and hyphens, 63 at most; unique.
        environment: variables that it sees, besides those of the place.
        folder: where it begins, if the place has it; and where its log is, if the place shares a
            file system.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    resources: Resources = Resources()


class Executor(Protocol):
    """A place that runs tasks. Blocking.

    Everything raises `Unavailable` if it does not answer, and `NoPlace` where it cannot be asked.
    """

    @property
    def shares_files(self) -> bool:
        """Whether its nodes see this machine's files, under the same paths.

        Where they do not, a command that begins with `python` is run by the node's own.
        """

    def submit(self, task: Task) -> str:
        """Have it run; returns the place's own id for it.

        Raises:
            Refused: the place does not take it, with what it says.
        """

    def status(self, id: str) -> State:
        """How it stands.

        Raises:
            NotFound: the place does not know it (any more).
        """

    def why(self, id: str) -> str:
        """What it waits for, or what became of it, in the place's words; empty where it has none.

        Raises:
            NotFound: the place does not know it (any more).
        """

    def log(self, id: str) -> str:
        """What it has printed so far, both streams.

        Raises:
            NotFound: the place does not know it (any more).
        """

    def cancel(self, id: str) -> None:
        """End it; what has ended stays as it is."""
