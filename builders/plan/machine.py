"""The machine a build runs on: device, memory, precision. Detected once, then a plain value.

Invariant: `make_plan` sees the machine only through this value, so a plan can be made for another.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where training runs; `memory` is what a build may use there, in bytes."""

    device: Literal["cpu", "cuda"]
    name: str
    memory: int
    precision: Precision
    cores: int


def detect_machine() -> Machine:
    """Look at this machine.

    A CPU trains in float32: without AMX or AVX512-BF16, bfloat16 there is 2–3× slower (measured).
    """
    cores = len(os.sched_getaffinity(0))
    if os.environ.get("CUDA_VISIBLE_DEVICES") != "" and _has_nvidia():
        import torch

        if torch.cuda.is_available():
            properties = torch.cuda.get_device_properties(0)
            precision: Precision = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
            return Machine("cuda", properties.name, properties.total_memory, precision, cores)
    return Machine("cpu", platform.processor() or platform.machine(), _free_memory(), "fp32", cores)


def _has_nvidia() -> bool:
    """Whether a driver is there; asking torch costs seconds of import on machines without one."""
    return os.path.exists("/proc/driver/nvidia")  # noqa: PTH110


def _free_memory() -> int:
    """Bytes that can be used without swapping, within the cgroup's limit when there is one."""
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("MemAvailable:"):
                    available = int(line.split()[1]) * 1024
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:  # noqa: PTH123
            limit = file.read().strip()
        if limit.isdigit():
            available = min(available, int(limit))
    except OSError:
        pass
    return available
