"""`[[train.tracking]]`: where a tracker keeps the metrics of a training."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from adapterworks.manifests.named import Named
from adapterworks.manifests.values import Frozen

Label = Annotated[str, Field(min_length=1, max_length=128)]


class TrackingTable(Frozen):
    """`[[train.tracking]]`: a tracker under names of its own; what it is sent are metrics only."""

    tracker: Annotated[str, Named("trackers")]
    """The tracker: `wandb`, or `mlflow`, whose experiments are its projects (see `adapters
    trackers`). It is not in `train.trackers` too."""
    project: Label
    """The project of the run."""
    run: Label | None = None
    """The name of the run; the adapter's name if not given."""
    entity: Label | None = None
    """Whose project it is, where a tracker has teams (`wandb`); else the key's own."""
    tags: Annotated[tuple[Label, ...], Field(max_length=32)] = ()
    """Tags of the run."""
