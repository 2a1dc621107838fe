"""The machine a build runs on: device, memory, precision. Detected once, then a plain value.

Invariant: `make_plan` sees the machine only through this value, so a plan can be made for another.
"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from typing import Literal

from adapterworks.manifests.errors import InvalidInput

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where training runs.

    Attributes:
        memory: what a build may use there, in bytes: of a CPU, or of each GPU.
        cards: how many GPUs there are, all alike for a plan: the smallest one counts.
    """

    device: Literal["cpu", "cuda"]
    name: str
    memory: int
    precision: Precision
    cores: int
    cards: int = 1


# (memory in GiB that CUDA reports, less what its context takes; whether it computes in bf16), by
# the makers' data sheets. Where a card comes in several sizes, the first one is meant.
_CARDS: dict[str, tuple[dict[int, float], bool]] = {
    "t4": ({16: 14.5}, False),
    "v100": ({16: 15.5, 32: 31.5}, False),
    "l4": ({24: 22.0}, True),
    "a10": ({24: 22.0}, True),
    "rtx4090": ({24: 23.3}, True),
    "l40s": ({48: 44.0}, True),
    "a100": ({80: 79.0, 40: 39.2}, True),
    "h100": ({80: 79.0}, True),
    "h200": ({141: 139.5}, True),
}
_NAMED = re.compile(r"(?:([1-9][0-9]{0,3})x)?([a-z0-9]+?)(?:-([0-9]{1,3})g)?")


def named_machine(text: str) -> Machine:
    """A machine with GPUs by name, to plan for it elsewhere: `a10`, `2xa100-80g`, `8xh100`.

    Raises:
        InvalidInput: no such name.
    """
    found = _NAMED.fullmatch(text.lower())
    sizes, bf16 = _CARDS.get(found[2], ({}, False)) if found else ({}, False)
    size = int(found[3]) if found and found[3] else next(iter(sizes), 0)
    if found is None or size not in sizes:
        cards = ", ".join(f"`{n}-{g}g`" for n, (known, _) in _CARDS.items() for g in known)
        raise InvalidInput(
            f"`{text}` names no machine",
            hint=f"write N times a card, such as `2xa100-80g`; cards are {cards}",
        )
    precision: Precision = "bf16" if bf16 else "fp16"
    memory = int(sizes[size] * 2**30)
    return Machine("cuda", found[2].upper(), memory, precision, 8, int(found[1] or 1))


def detect_machine() -> Machine:
    """Look at this machine.

    A CPU trains in float32: without AMX or AVX512-BF16, bfloat16 there is 2–3× slower (measured).
    """
    cores = len(os.sched_getaffinity(0))
    if os.environ.get("CUDA_VISIBLE_DEVICES") != "" and _has_nvidia():
        import torch

        if torch.cuda.is_available():
            cards = [
                torch.cuda.get_device_properties(number)
                for number in range(torch.cuda.device_count())
            ]
            memory = min(card.total_memory for card in cards)
            precision: Precision = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
            return Machine("cuda", cards[0].name, memory, precision, cores, len(cards))
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
