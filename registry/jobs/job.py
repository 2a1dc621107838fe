"""What a job is: values, as the queue gives them to both sides.

`kind` says what its arguments mean; `lane` says who may run it. A job is handed from one lane to
the next (`build` on a worker, then `proof:BASE` on a gateway), so a row is all
that the sides share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapterworks.registry.jobs.states import ENDED, State, Wanted

FINE_TUNING = "fine_tuning"
BATCH = "batch"
DETACHED = "build"
BUILD_LANE = "build"
BATCH_LANE = "batch"
PROOF_LANE = "proof:"
"""With the digest of the base after it: a gateway that serves that base."""
OPERATOR = ""
"""The tenant of jobs from the command line."""
PREFIXES = {FINE_TUNING: "ftjob", BATCH: "batch", DETACHED: "build"}


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be queued.

    Attributes:
        tenant: whose it is; `OPERATOR` for the command line.
        priority: among the tenant's own jobs; higher runs earlier.
        cost: what a run takes of the tenant's share, in any unit that is the same for all.
        weight: the tenant's share relative to others.
        most_running: of the tenant's jobs at once; None is unlimited.
        labels: what lists of jobs can be searched by.
    """

    kind: str
    tenant: str
    lane: str
    arguments: Mapping[str, Any]
    priority: int = 0
    cost: float = 1.0
    weight: float = 1.0
    most_running: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is now. Times are seconds since the epoch.

    Attributes:
        attempt: how often it was taken from the queue.
        lost: how often its holder died since it last came on.
        wanted: what its owner asks of whoever runs it.
        result: what its runs have found out so far.
        code, message, param: why it failed.
    """

    sequence: int
    id: str
    kind: str
    tenant: str
    lane: str
    priority: int
    arguments: Mapping[str, Any]
    labels: Mapping[str, str]
    state: State
    wanted: Wanted
    attempt: int
    lost: int
    holder: str
    created: float
    started: float | None
    finished: float | None
    result: Mapping[str, Any]
    code: str
    message: str
    param: str

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run one attempt of a job; every write of a worker shows it.

    A worker that was taken for dead has one that no row matches any more.
    """

    job: str
    attempt: int
    holder: str


@dataclass(frozen=True, slots=True)
class Done:
    """It succeeded."""

    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Handed:
    """This part of it is done; another lane goes on."""

    lane: str
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Again:
    """It could not be done now.

    Attributes:
        after: seconds until it may be tried again.
        why: as its owner may read it.
        counts: whether this was one of the tries that it has.
        detail: for the job's result.
    """

    after: float
    why: str
    counts: bool = True
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stop:
    """It failed, and trying again would not help."""

    code: str
    message: str
    param: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Given:
    """Whoever ran it stopped because its owner, or its worker's owner, asked.

    Attributes:
        state: what was asked for when it stopped; what its owner has asked for since comes first.
        result: what it has come to.
        after: seconds until it may be taken again, where it is queued.
    """

    state: State
    result: Mapping[str, Any] = field(default_factory=dict)
    after: float = 0.0


Outcome = Done | Handed | Again | Stop | Given
