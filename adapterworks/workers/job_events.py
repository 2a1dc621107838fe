"""A build's events → the job's: what its owner sees, at most a write a second.

Invariant: each write shows the claim, so a lost job's worker adds nothing to its successor's story.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy.engine import Connection

from adapterworks.progress import seconds, tracker_line
from adapterworks.registry.index.database import Database
from adapterworks.registry.jobs import events, queue
from adapterworks.registry.jobs.job import OPERATOR, Claim
from adapterworks.registry.jobs.shown import without_places
from adapterworks.registry.jobs.waits import NOTHING, Waits

_INTERVAL = 1.0
_STAGES = {
    "train": "training",
    "convert": "conversion to what the engine loads",
    "evaluate": "evaluation",
    "fingerprint": "fingerprint",
    "publish": "publication",
}
Write = Callable[[Connection], None]


class JobEvents:
    """A listener of a build's events that writes them down as the job's; a context manager.

    Args:
        owner: the job's tenant.
        waits: what it has waited for until now.
    """

    def __init__(
        self, database: Database, claim: Claim, owner: str, waits: Waits | None = None
    ) -> None:
        self._database, self._claim, self._owner = database, claim, owner
        self._waits = waits
        self._waiting: list[Write] = []
        self._written = 0.0
        self._loss: float | None = None
        self._valid: float | None = None
        self.stopped: str | None = None
        """What an alarm said that stopped the training."""

    def __enter__(self) -> JobEvents:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.flush()

    def say(self, message: str) -> None:
        """A sentence for the job's owner, without what is no tenant's to know."""
        message = message if self._owner == OPERATOR else without_places(message)
        self._add(message, kind=events.MESSAGE, data={})

    def note(self, **values: Any) -> None:
        """Something that the job has found out."""
        self._waiting.append(lambda connection: queue.note(connection, self._claim, values))
        self.flush()

    def __call__(self, event: dict[str, Any]) -> None:
        """Tell of one of the build's events."""
        match event["event"]:
            case "stage" if event["state"] == "begin" and event["name"] in _STAGES:
                self._come(time.time())
                self.say(f"{_STAGES[event['name']]} has begun")
            case "resumed":
                self.say(f"resumed at step {event['step']}")
            case "step":
                self._step(event)
            case "validation":
                self._valid = event["loss"]
                if self._valid is not None:
                    self.say(f"step {event['step']}: validation loss {self._valid:.4f}")
                elif (reward := event.get("reward")) is not None:
                    self.say(f"step {event['step']}: mean reward of the validation {reward:.4f}")
            case "alarm":
                said = f"step {event['step']}: {event['message']}"
                self.say(f"alarm at {said}")
                self.stopped = said if event["action"] == "stop" else None
            case "tracker_lost":
                self._lost_tracker(event)
            case "checkpoint":
                self._checkpoint(int(event["step"]))
        if time.monotonic() - self._written >= _INTERVAL:
            self.flush()

    def _lost_tracker(self, event: dict[str, Any]) -> None:
        """The reason names the operator's hosts, however it is written: a tenant is told none."""
        told = tracker_line(event)
        if self._owner != OPERATOR:
            print(told, file=sys.stderr)  # the worker's log
            told = f"the tracker `{event['tracker']}` is told no more from step {event['step']} on"
        self.say(told)

    def _come(self, now: float) -> None:
        """What was waited for is there."""
        if self._waits is not None:
            self.note(**NOTHING)
            waited = seconds(now - self._waits.since)
            self.say(f"there is {self._waits.resource} for it, after {waited}")
            self._waits = None

    def _step(self, event: dict[str, Any]) -> None:
        step, steps, self._loss = event["step"], event["steps"], event["loss"]
        left = event["seconds_left"]
        data = {"step": step, "total_steps": steps, "train_loss": self._loss}
        told = f"training loss {self._loss:.4f}"
        if (reward := event.get("reward")) is not None:
            data["train_mean_reward"] = reward
            told = f"mean reward {reward:.4f}"
        message = f"step {step}/{steps}: {told}, {seconds(left)} left"
        self._add(message, kind=events.METRICS, data=data)
        ends = {"estimated_finish": int(time.time() + left)}
        self._waiting.append(lambda connection: queue.note(connection, self._claim, ends))

    def _checkpoint(self, step: int) -> None:
        known = {"step": step, "train_loss": self._loss, "valid_loss": self._valid}
        metrics = {name: float(value) for name, value in known.items() if value is not None}
        job, at = self._claim.job, time.time()

        def write(connection: Connection) -> None:
            # Losses before it do not count: a training of weeks loses many a worker. One that was
            # there before is none: a job may die behind it again and again.
            if events.add_checkpoint(connection, job, step, metrics, at):
                queue.came_on(connection, self._claim)

        self._waiting.append(write)
        self.say(f"checkpoint at step {step}")

    def _add(self, message: str, *, kind: str, data: dict[str, Any]) -> None:
        job, at = self._claim.job, time.time()
        self._waiting.append(lambda c: events.add(c, job, message, at, kind=kind, data=data))

    def flush(self) -> None:
        """Write what waits.

        Raises:
            Lost: the job is not the claim's any more.
        """
        self._written = time.monotonic()
        waiting, self._waiting = self._waiting, []
        if waiting:
            with self._database.write() as connection:
                queue.require(connection, self._claim)
                for write in waiting:
                    write(connection)
