"""What a build that may go on elsewhere asks of whoever keeps its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class CheckpointStore(Protocol):
    """Keeps a build's newest checkpoint where another machine finds it."""

    def restore(self, folder: Path) -> None:
        """Put what is kept into the build's folder, if that is further than what lies there.

        Args:
            folder: of the build, whose lock is held.
        """

    def save(self, folder: Path) -> None:
        """Keep what lies in the folder: a checkpoint was just written."""
