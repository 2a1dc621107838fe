"""Optional experiment trackers, by name: one file each.

Invariants:
- a tracker that is named but not installed stops the build before it trains, and so does one that
  does not begin;
- one that fails later is told no more, and the training goes on: the build's log has every number;
- trackers are told numbers of steps and evaluations, never rows, texts or answers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.trackers.tracker import Label, Run, Tracker
from adapterworks.manifests.errors import AdapterworksError, InvalidInput, Unavailable
from adapterworks.manifests.extensions import Table
from adapterworks.manifests.tracking_table import TrackingTable
from adapterworks.manifests.train_table import TrainTable

TRACKERS: Table[Tracker] = Table("trackers", Tracker)
_TOLD = ("step", "validation")
# Numbers that say how far a training is, not how it goes.
_PROGRESS = frozenset({"step", "steps", "tokens", "seconds_left"})


def check_trackers(train: TrainTable) -> None:
    """Refuse trackers whose package is missing, and names that one cannot be given.

    Raises:
        InvalidInput: naming the package to install, or the key to leave out.
    """
    for name in train.trackers:
        _require_installed("train.trackers", name)
    seen = set(train.trackers)
    for table in train.tracking:
        tracker = TRACKERS.named(table.tracker)
        if table.tracker in seen:
            raise InvalidInput(
                f"the tracker `{table.tracker}` is named twice",
                hint="once in `train.trackers`, or once in `[[train.tracking]]`",
            )
        seen.add(table.tracker)
        if tracker.begin is None:
            raise InvalidInput(
                f"`[[train.tracking]]` names `{table.tracker}`, whose runs have no names to choose",
                hint=f'`train.trackers = ["{table.tracker}"]`',
            )
        if table.entity is not None and not tracker.entities:
            raise InvalidInput(
                f"`[[train.tracking]]` has an `entity`, and `{table.tracker}` knows none",
                hint="leave it out",
            )
        _require_installed("[[train.tracking]]", table.tracker)


def _require_installed(where: str, name: str) -> None:
    package = TRACKERS.named(name).package
    if find_spec(package) is None:
        raise InvalidInput(
            f"`{where}` names `{name}`, which is not installed",
            hint=f"`pip install {package}`, or remove it; training.jsonl has every number anyway",
        )


class Trackers:
    """Passes numbers on to the started trackers, by their names."""

    def __init__(self, started: Sequence[tuple[str, Run]]) -> None:
        self._started = list(started)
        self.lost: Callable[[str, str], None] = _nobody
        """Told the name of a tracker that fails, and why."""

    def log(self, event: str, fields: dict[str, Any]) -> None:
        """Log the numbers of a `step` or `validation` event: losses, rates and speed, and whatever
        the objective tells (rewards, divergence, lengths, margins)."""
        if event not in _TOLD:
            return
        values = {
            f"{event}/{name}": value
            for name, value in fields.items()
            if name not in _PROGRESS
            and isinstance(value, int | float)
            and not isinstance(value, bool)
        }
        if values:
            self._each(lambda run: run.log(values, step=fields["step"]))

    def close(self) -> None:
        """Finish the runs."""
        self._each(lambda run: run.finish())

    def _each(self, act: Callable[[Run], object]) -> None:
        for name, run in [*self._started]:
            try:
                act(run)
            except Exception as error:  # whatever a tracker's client raises
                self._started.remove((name, run))
                self.lost(name, _first_line(error))


def make_trackers(plan: Plan, folder: Path) -> Trackers:
    """Start the trackers a plan names; without other names a run is called after the adapter.

    Args:
        plan: of the training; of several processes only the first tells its numbers.
        folder: the training's, which is removed when the release is published: what a tracker
            writes itself goes to `trackers/` beside it.

    Raises:
        Unavailable: one does not begin.
    """
    train = plan.manifest.train
    if os.environ.get("RANK", "0") != "0":
        return Trackers([])
    check_trackers(train)
    name, target = plan.manifest.adapter.name, folder.parent / "trackers"
    started = [(one, _begun(one, name, target, None)) for one in train.trackers]
    started += [
        (table.tracker, _begun(table.tracker, name, target, table)) for table in train.tracking
    ]
    return Trackers(started)


def _begun(name: str, adapter: str, target: Path, table: TrackingTable | None) -> Run:
    tracker = TRACKERS.named(name)
    try:
        if table is None or tracker.begin is None:
            return tracker.start(adapter, target)
        label = Label(table.project, table.run or adapter, table.entity, table.tags)
        return tracker.begin(label, target)
    except AdapterworksError:
        raise
    except Exception as error:  # whatever a tracker's client raises
        raise Unavailable(
            f"the tracker `{name}` does not begin: {_first_line(error)}",
            hint="its address and key are in the environment of whoever trains; or leave it out",
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _nobody(name: str, why: str) -> None:
    """Nobody listens."""
