"""A training that is asked to end does so after its step, with a checkpoint: no step is lost.

A build asks by a file in its folder, which reaches every process whatever started them: torchrun
gives those that it signals 30 seconds, and a checkpoint may take longer. What stops a process
itself (a cluster that takes its node back, Ctrl-C in a terminal) sends a signal.

Invariant: all processes end after the same step.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapterworks.builders.training.job import STOP
from adapterworks.builders.training.processes import summed
from adapterworks.manifests.errors import Unavailable

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether a training is asked to end.

    Args:
        folder: the build directory.
    """

    def __init__(self, folder: Path) -> None:
        self._file, self._signalled = folder / STOP, False

    @contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """While it lasts, SIGINT and SIGTERM ask to end instead of ending the process at once."""
        before = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, *_: object) -> None:
        self._signalled = True

    def reason(self, accelerator: Any, step: int, last: int) -> Unavailable | None:
        """Why a training ends after this step, if any of its processes is asked to; each of them
        asks once a step. After the last one it ends anyway."""
        asked = self._signalled or (accelerator.is_main_process and self._file.exists())
        if summed(accelerator, float(asked)) == 0 or step == last:
            return None
        return Unavailable(
            f"the training was asked to end, and did after step {step} of {last}, which is saved",
            hint="run it again: it goes on from there",
        )
