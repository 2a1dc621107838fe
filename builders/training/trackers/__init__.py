"""Optional experiment trackers, by name: one file each.

Invariant: a tracker that is named but not installed stops the build before it trains.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adapterworks.builders.plan.plan import Plan
from adapterworks.builders.training.trackers.tracker import Run, Tracker
from adapterworks.manifests.errors import InvalidInput
from adapterworks.manifests.extensions import Table

TRACKERS: Table[Tracker] = Table("trackers", Tracker)
_LOGGED = ("loss", "learning_rate", "gradient_norm", "tokens_per_second")


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers whose package is missing.

    Raises:
        InvalidInput: naming the package to install.
    """
    for name in names:
        package = TRACKERS.named(name).package
        if find_spec(package) is None:
            raise InvalidInput(
                f"`train.trackers` names `{name}`, which is not installed",
                hint=f"`pip install {package}`, or remove it; training.jsonl has every number "
                "anyway",
            )


class Trackers:
    """Passes numbers on to the started trackers."""

    def __init__(self, started: Sequence[Run]) -> None:
        self._started = started

    def log(self, event: str, fields: dict[str, Any]) -> None:
        """Log the numbers of a `step` or `validation` event."""
        if event not in ("step", "validation"):
            return
        values = {f"{event}/{k}": fields[k] for k in _LOGGED if fields.get(k) is not None}
        for tracker in self._started:
            tracker.log(values, step=fields["step"])

    def close(self) -> None:
        """Finish the runs."""
        for tracker in self._started:
            tracker.finish()


def make_trackers(plan: Plan, folder: Path) -> Trackers:
    """Start the trackers a plan names; the run is called after the adapter.

    Args:
        plan: of the training; of several processes only the first tells its numbers.
        folder: the training's, which is removed when the release is published: what a tracker
            writes itself goes to `trackers/` beside it.
    """
    names = plan.manifest.train.trackers if os.environ.get("RANK", "0") == "0" else ()
    check_trackers(names)
    run, target = plan.manifest.adapter.name, folder.parent / "trackers"
    return Trackers([TRACKERS.named(name).start(run, target) for name in names])
