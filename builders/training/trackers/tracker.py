"""What a tracker is, and how most are made: by `accelerate`'s own integrations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol


class Run(Protocol):
    """One training as a tracker sees it."""

    def log(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Take the numbers of a step."""

    def finish(self) -> None:
        """The training has ended."""


@dataclass(frozen=True, slots=True)
class Tracker:
    """One experiment tracker.

    Attributes:
        name: as `train.trackers` says it.
        description: one sentence for `adapters trackers`.
        package: that must be installed, as it is imported.
        start: the run's name, and a folder for what it writes itself → the run.
    """

    name: str
    description: str
    package: str
    start: Callable[[str, Path], Run]


def by_accelerate(name: str, run: str, folder: Path) -> Run:
    """Start a run of the tracker that accelerate knows under a name."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    tracker_class = LOGGER_TYPE_TO_CLASS[name]
    arguments = [run]
    if tracker_class.requires_logging_directory:
        arguments.append(str(folder))
    tracker: Any = tracker_class(*arguments)
    if hasattr(tracker, "start"):
        tracker.start()
    return tracker


def of_accelerate(name: str, description: str) -> Tracker:
    """A tracker whose name, package and integration in accelerate are called alike."""
    return Tracker(name, description, name, partial(by_accelerate, name))
