"""What a tracker is, and how most are made: by `accelerate`'s own integrations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from adapterworks.manifests.atomic import write_atomic


class Run(Protocol):
    """One training as a tracker sees it."""

    def log(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Take the numbers of a step."""

    def finish(self) -> None:
        """The training has ended."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a run is called, and where it is kept.

    Attributes:
        project: of a tracker that has projects, or what it calls them.
        run: its name there.
        entity: whose project; None: as the tracker's key says.
    """

    project: str
    run: str
    entity: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tracker:
    """One experiment tracker.

    Attributes:
        name: as `train.trackers` says it.
        description: one sentence for `adapters trackers`.
        package: that must be installed, as it is imported.
        start: the run's name, and a folder for what it writes itself → the run.
        begin: the same for a run with names of its own, which sends the numbers it is told and
            nothing else; None: names cannot be chosen.
        entities: whether a label may say whose project it is.
    """

    name: str
    description: str
    package: str
    start: Callable[[str, Path], Run]
    begin: Callable[[Label, Path], Run] | None = None
    entities: bool = False


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


def of_accelerate(
    name: str,
    description: str,
    begin: Callable[[Label, Path], Run] | None = None,
    *,
    entities: bool = False,
) -> Tracker:
    """A tracker whose name, package and integration in accelerate are called alike."""
    return Tracker(name, description, name, partial(by_accelerate, name), begin, entities)


def kept_id(folder: Path, name: str, make: Callable[[], str]) -> str:
    """A run's id, the same for a training that is resumed.

    Args:
        folder: of what trackers write; it outlives a process of the training.
        make: a new one.
    """
    path = folder / f"{name}.run"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(path, make())
    return path.read_text(encoding="utf-8").strip()
