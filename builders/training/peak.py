"""Measured peak memory: what a plan's prediction is compared with.

On a CPU: growth of the process's peak resident set (Linux `VmHWM`) over its resident set before the
model was loaded. On CUDA: the allocator's peak.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class PeakMemory:
    """Starts counting when made."""

    def __init__(self, device: str) -> None:
        self._cuda = device == "cuda"
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            return
        # Sets VmHWM back to the present resident set; without it an earlier peak can hide this one.
        with contextlib.suppress(OSError):
            _CLEAR.write_text("5")
        self._before = _status("VmRSS")

    def bytes(self) -> int:
        """Growth at the peak so far."""
        if self._cuda:
            return torch.cuda.max_memory_allocated()
        return max(0, _status("VmHWM") - self._before)


def _status(key: str) -> int:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    return 0
